"""
Limiters that do what the real one does only after many answers.
"""

from __future__ import annotations

from random import Random

from attrs import define, field

from hh_exporter import Exporter
from hh_exporter._assembly import WorkerMaker
from hh_exporter._delivery.limiter import Limiter

__all__ = ["Jumping", "let_jump"]


@define(eq=False)
class Jumping(Limiter):
    """
    One whose limit is another with each request and each answer.
    """

    _random: Random = field(factory=lambda: Random(0), init=False)

    def begin(self, *, is_probe: bool = False) -> int:
        change = super().begin(is_probe=is_probe)
        self._jump()
        return change

    def note(
        self, change: int, status: int | None, seconds: float, size: int, *, is_known: bool = False
    ) -> None:
        super().note(change, status, seconds, size, is_known=is_known)
        self._jump()

    def _jump(self) -> None:
        self.limit = self._random.randint(1, self.ceiling)


def let_jump(exporter: Exporter) -> None:
    """
    Have the workers of *exporter* be limited at random.
    """
    maker = exporter._life.make_worker
    assert isinstance(maker, WorkerMaker)
    maker.make_limiter = Jumping
