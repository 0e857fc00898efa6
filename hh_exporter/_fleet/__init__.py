"""
Beyond one machine: the streams between apps and relays, and what takes from them.

A relay is `relay`. Its way in, from the stream: `link` has the connection, `pulls` what was asked
for, `metadata` and `hand` what has come, `feed` all of that together, and `refill` when to ask for
more or less. Its way out: `acks` for what is delivered, `returns` for what goes back, `letter` and
`outbox` for what is dead. Operators have `plan` and `streams` to set up, `advice` and `census` to
watch, and `archive` to read dead letters; `api` is how they ask. Apps have nothing here: they
publish by `_transport/jetstream.py`.

Nothing here makes or changes a stream or a consumer unless it is asked to set them up, and what
is there already is never changed.

Others use `advice.Advice`, `advice.compare`, `api.ApiError`, `archive.Archive`,
`archive.Replayed`, `archive.Stored`, `books.BALANCED`, `books.BOOKS`, `books.RelayStats`,
`census.RelayAnswer`, `census.ask_relays`, `plan.Names`, `plan.PREFETCH`, `plan.Plan`,
`relay.Relay`, `streams.ConsumerState`, `streams.Part`, `streams.State`, `streams.StreamState`,
`streams.look` and `streams.set_up`.
"""
