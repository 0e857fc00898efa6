"""
What clients of LLM APIs return, whole or chunk by chunk, read into the fields of a model event.

Others use `anthropic.usage_of`, `call.CANCELLED`, `call.ModelCall`, `call.begin`,
`call.conclude`, `call.give_back`, `chat.usage_of`, `completion.Choice`,
`completion.Message`, `completion.one_word`, `completion.reason_of`,
`completion.response_of`, `filling.filled`, `gemini.usage_of`, `responses.read` and
`responses.usage_of`.
"""
