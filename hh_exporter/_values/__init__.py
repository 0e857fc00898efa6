"""
Values: made plain JSON data, read from JSON, mapped by a function, completed to times.

Knows only values: no record, no dialect and no clock.

Others use `legalize.MAX_DEPTH`, `legalize.MAX_ODD`, `legalize.TOO_LARGE`,
`legalize.legalize`, `legalize.legalize_fields`, `reading.read_json`, `text.map_fields`,
`times.SECONDS` and `times.fill_times`.
"""
