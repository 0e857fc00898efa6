"""
The wires that the server speaks: one sibling each, and what they share.
"""
