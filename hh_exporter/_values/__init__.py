"""
What values become, and are read from: plain JSON data, text that a function maps, complete times.

Knows values alone: no record, no dialect and no clock.

Others use `legalize.MAX_DEPTH`, `legalize.MAX_ODD`, `legalize.legalize`,
`legalize.legalize_fields`, `reading.read_json`, `text.map_fields`, `times.SECONDS` and
`times.fill_times`.
"""
