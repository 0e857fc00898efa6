"""
Clients and frameworks, each with one way to ask what a scenario asks.
"""
