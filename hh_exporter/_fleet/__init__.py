"""
Beyond one machine: the streams between apps and relays, and what takes from them.

Nothing here makes or changes a stream or a consumer unless it is asked to set them up, and what
is there already is never changed.

Others use `advice.Advice`, `advice.compare`, `api.ApiError`, `archive.Archive`, `archive.Replayed`,
`archive.Stored`, `books.RelayStats`, `census.BOOKS`, `census.RelayAnswer`, `census.ask_relays`,
`plan.Names`, `plan.Plan`, `relay.Relay`, `streams.ConsumerState`, `streams.Part`, `streams.State`,
`streams.StreamState`, `streams.look` and `streams.set_up`.
"""
