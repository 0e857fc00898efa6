"""
Asynchronous, buffered export of LLM model events to the HoneyHive API.
"""

from hh_exporter._version import __version__

__all__ = ["__version__"]
