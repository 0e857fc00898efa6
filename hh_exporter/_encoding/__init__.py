"""
An event as bytes, and what of it may leave the process.

Runs once for each event, on the thread that pushes it; from here on there are only bytes.

Others use `codec.Codec`, `codec.copy_event`, `codec.no_event` and `privacy.Privacy`.
"""
