"""
The database: its schema, its rows, how they are written, found and deleted.

Independent of HTTP: requests and responses are for the modules above.
"""
