"""
One attempt: how bytes reach a server.

Sends once and says what came back; whether to send again is decided in `_delivery`.

Others use `access.check_access`, `addresses.is_loopback`, `http.HttpTransport`,
`jetstream.JetStreamTransport`, `nats.Connection`, `nats.Lost`, `nats.Message`,
`resolver.Addresses`, `transport.Transport` and `trust.find_trust`.
"""
