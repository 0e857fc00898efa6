"""
Which values a setting may have, and the limits that users give.

A value is checked where it is given, frozen, and trusted from there on.

Others use `batch.BatchLimits`, `batch.MAX_BODY_BYTES`, `hooks.BeforeSend`, `jetstream.JetStream`,
`jetstream.subject_of`, `kinds.Kind`, `kinds.choice`, `kinds.flag`, `kinds.is_address`,
`kinds.seconds`, `kinds.share`, `kinds.text`, `kinds.whole`, `queue.QueueLimits`, `queue.portion`,
`retry.RetryPolicy`, `secret.Secret`, `secret.hidden`, `spool.Spool` and `spool.expanded`.
"""
