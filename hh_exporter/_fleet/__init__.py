"""
Beyond one machine: the streams between apps and relays, and what takes from them.

Nothing here makes or changes a stream or a consumer unless it is asked to set them up, and what
is there already is never changed.
"""
