"""
The routes that accept events, sessions, updates, spans and runs from clients.

Nothing is acknowledged before it is committed.
"""
