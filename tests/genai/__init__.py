"""
Real clients, frameworks and their instrumentation, which ask a server on this machine.
"""
