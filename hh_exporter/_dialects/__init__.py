"""
The wires that the server speaks: how events become bodies, and answers become verdicts.

The vendor's words are known here alone; a dialect sends nothing and decides about no retry.

Others use `dialect.Answer`, `dialect.Dialect`, `legacy.LegacyDialect` and `registry.DIALECTS`.
"""
