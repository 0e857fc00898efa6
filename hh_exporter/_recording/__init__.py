"""
Time blocks and calls, push an event about each, and say what encloses what.

Others use `blocks.Block`, `blocks.Blocks`, `blocks.end_all`, `fields.UpdateFields`,
`fields.build`, `methods.RecordingMethods`, `scopes.Scope` and `scopes.current`.
"""
