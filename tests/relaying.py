"""
Exporters for which acceptance means that a stream has an event, for a relay to deliver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from hh_exporter import Exporter, Outcome
from hh_exporter._assembly import WorkerMaker
from hh_exporter._dialects.dialect import Dialect
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter._dialects.v1 import V1Dialect

__all__ = ["let_relay"]


class _Legacy(LegacyDialect):
    outcome = Outcome.RELAYED


class _V1(V1Dialect):
    outcome = Outcome.RELAYED


_DIALECTS: Final[Mapping[str, Callable[[], Dialect]]] = {"legacy": _Legacy, "v1": _V1}


def let_relay(exporter: Exporter) -> None:
    """
    Have the workers of *exporter* take what the server accepts as relayed.
    """
    maker = exporter._life.make_worker
    assert isinstance(maker, WorkerMaker)
    maker.dialect = _DIALECTS[maker.dialect.name]()
