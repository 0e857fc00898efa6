"""
What clients of LLM APIs return, whole or chunk by chunk, read into the fields of a model event.

Others use `call.CANCELLED`, `call.ModelCall`, `call.begin`, `call.conclude`,
`call.give_back`, `chat.usage_of`, `completion.Choice`, `completion.Message`,
`completion.one_word`, `completion.reason_of`, `completion.response_of`, `filling.filled`
and `responses.usage_of`.
"""
