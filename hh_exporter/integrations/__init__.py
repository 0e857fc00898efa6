"""
Doors to frameworks and clients: one module each, which imports its library itself.
"""
