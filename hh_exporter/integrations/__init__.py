"""
Doors into other libraries: each imports its library inside itself.
"""
