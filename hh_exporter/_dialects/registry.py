"""
Which dialects there are, by the name that a setting gives each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from hh_exporter._dialects.dialect import Dialect
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter._dialects.v1 import V1Dialect

__all__ = ["DIALECTS"]

DIALECTS: Final[Mapping[str, Callable[[], Dialect]]] = {
    "legacy": LegacyDialect,
    "v1": V1Dialect,
}
"""How to make each dialect, by the name that a setting gives it."""
