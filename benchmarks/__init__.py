"""
What the exporter costs, each question in a file of its own.
"""
