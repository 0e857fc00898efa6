"""
One attempt: how bytes reach a server.

Sends once and says what came back; whether to send again is decided in `_delivery`.

Others use `access.check_access`, `addresses.is_loopback`, `addresses.server_of`,
`answers.is_acknowledged`, `answers.read_object`, `cluster.Connector`, `http.HttpTransport`,
`jetstream.JetStreamTransport`, `nats.Box`, `nats.Connection`, `nats.Lost`, `nats.Message`,
`refusals.NoConnection`, `resolver.Addresses`, `transport.Transport` and `trust.find_trust`.
"""
