"""
The routes that answer questions about what is stored, and the filter language.

Read-only: nothing here changes the database.
"""
