"""
What values become: plain JSON data, text that a function maps, complete times.

Knows values alone: no record, no dialect and no clock.

Others use `legalize.STOPS`, `legalize.legalize`, `text.map_fields` and `times.fill_times`.
"""
