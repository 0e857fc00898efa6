"""
The wires that the server speaks: how events become bodies, and answers become verdicts.

The vendor's words are known here alone; a dialect sends nothing and decides about no retry.

Others use `dialect.Answer`, `dialect.Dialect`, `dialect.method_of`, `jetstream.JetStreamDialect`,
`kinds.unstructure_update`, `legacy.LegacyDialect`, `messages.ID`, `messages.MOST_HEADERS`,
`messages.Messages`, `messages.OutMessage`, `messages.Receipt`, `messages.read_message`,
`registry.DIALECTS`, `vendor.DATA_PLANE`, `vendor.HOSTS`, `vendor.describe_key`,
`vendor.other_host`, `vendor.read_error`, `vendor.to_session_uuid` and `vendor.why_unable`.
"""
