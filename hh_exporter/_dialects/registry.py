"""
Which dialects there are, by the name that a setting gives each.

A dialect is loaded when one of its kind is made, so that settings can be checked without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hh_exporter._dialects.dialect import Dialect

__all__ = ["DIALECTS"]


def _make_legacy() -> Dialect:
    from hh_exporter._dialects.legacy import LegacyDialect

    return LegacyDialect()


def _make_v1() -> Dialect:
    from hh_exporter._dialects.v1 import V1Dialect

    return V1Dialect()


DIALECTS: Final[Mapping[str, Callable[[], Dialect]]] = {"legacy": _make_legacy, "v1": _make_v1}
"""How to make each dialect."""
