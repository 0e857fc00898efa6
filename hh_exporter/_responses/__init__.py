"""
What clients of LLM APIs return, whole or chunk by chunk, read into the fields of a model event.

Others use `call.CANCELLED`, `call.ModelCall`, `call.begin`, `call.conclude`,
`call.give_back` and `filling.filled`.
"""
