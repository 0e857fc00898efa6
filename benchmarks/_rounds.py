"""
Rounds in which variants take turns, and what is made of their figures.

One rule: figures are compared within a round, in which the machine was the same
for all. An absolute time is there for orientation and proves nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

__all__ = ["compare", "interleave", "percentile"]

T = TypeVar("T")


async def interleave(
    variants: Mapping[str, Callable[[], Awaitable[T]]], *, rounds: int, warm_up: int
) -> dict[str, list[T]]:
    """
    Run all *variants* in each round; which is first changes from round to round.

    Returns:
        What each variant returned, by round; that of the warm-up is left out.
    """
    figures: dict[str, list[T]] = {name: [] for name in variants}
    names = list(variants)
    for number in range(warm_up + rounds):
        for name in names:
            figure = await variants[name]()
            if number >= warm_up:
                figures[name].append(figure)
        names.append(names.pop(0))
    return figures


def compare(costs: Sequence[float], to: Sequence[float]) -> list[float]:
    """
    Divide *costs* by those of the baseline, round by round.
    """
    return [cost / base for cost, base in zip(costs, to, strict=True)]


def percentile(figures: Sequence[float], part: float) -> float:
    """
    Say below which of *figures* the given *part* of them lies: 0.999 for p99.9.
    """
    ordered = sorted(figures)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
