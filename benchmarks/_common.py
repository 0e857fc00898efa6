"""
What all benchmarks share: the events, rounds that take turns, the report.

One rule: figures are compared within a round, in which the machine was the same
for all. An absolute time is there for orientation and proves nothing.
"""

from __future__ import annotations

import gzip
import os
import platform
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from math import inf, log
from pathlib import Path
from random import Random
from statistics import fmean, median, quantiles
from typing import Any, TypeAlias, TypeVar

import orjson
from attrs import frozen

from hh_exporter import __version__

__all__ = [
    "Fields",
    "Row",
    "compare",
    "generate_events",
    "interleave",
    "load_events",
    "print_report",
    "read_arguments",
]

T = TypeVar("T")

Fields: TypeAlias = dict[str, Any]
"""What is set of one event: arguments of a ModelEvent, and keys of the wire alike."""

_RECORDED = Path(__file__).parents[2] / "shared" / "data" / "model_events.jsonl.gz"
"""Real conversations; no part of the repository, used where they are at hand."""

_SEED = 20_250_114
_MEDIAN_BYTES = 2000
_SIGMA = 0.55
"""Of a log-normal distribution: nine of ten texts are of 0.8 to 5 KB."""
_DOCUMENT_EVERY = 200
"""One event in so many is about a whole document."""
_DOCUMENT_BYTES = (200_000, 400_000)
_TOOLS_EVERY = 6
_WORDS = (
    *("the", "of", "to", "a", "in", "is", "that", "it", "for", "you", "with", "as", "are", "on"),
    *("model", "answer", "question", "number", "total", "first", "because", "between", "result"),
    *("café", "größer", "naïve", "質問", "答え", "🙂", '"quoted"', "line\nbreak"),
)


# The workload.


def read_arguments(question: str | None) -> Sequence[Fields]:
    """
    Read a benchmark's command line, which may name its events, and load them.
    """
    parser = ArgumentParser(description=question)
    parser.add_argument(
        "--events",
        type=Path,
        default=os.environ.get("BENCHMARK_EVENTS") or None,
        help="model events, one JSON object a line, gzipped (also BENCHMARK_EVENTS); "
        "else recorded ones where they are at hand, else generated ones",
    )
    path: Path | None = parser.parse_args().events
    if path is None and _RECORDED.exists():
        path = _RECORDED
    return generate_events() if path is None else load_events(path)


def load_events(path: Path) -> list[Fields]:
    """
    Load events from a gzipped file with one JSON object a line.
    """
    with gzip.open(path) as lines:
        return [orjson.loads(line) for line in lines]


def generate_events(count: int = 1500) -> list[Fields]:
    """
    Make events of the sizes that chats have: most of 1 to 4 KB, 3.9 KB on average.

    The first of them are the same on every call.
    """
    random = Random(_SEED)
    return [_generate_event(random, number) for number in range(count)]


def _generate_event(random: Random, number: int) -> Fields:
    size = random.lognormvariate(log(_MEDIAN_BYTES), _SIGMA)
    if number % _DOCUMENT_EVERY == _DOCUMENT_EVERY // 2:
        size = random.uniform(*_DOCUMENT_BYTES)
    event: Fields = {
        "project": "benchmarks",
        "model": random.choice(("gpt-4o", "claude-3-5-sonnet-20240620")),
        "provider": "openai",
        "messages": [
            {"role": "system", "content": _generate_text(random, size * 0.1)},
            {"role": "user", "content": _generate_text(random, size * 0.5)},
        ],
        "response": {"role": "assistant", "content": _generate_text(random, size * 0.4)},
        "duration": round(random.uniform(200, 4000), 2),
        "usage": {"prompt_tokens": number, "completion_tokens": 99, "total_tokens": number + 99},
        "source": "production",
        "event_name": f"chat/{number}",
        "cost": round(random.uniform(0, 0.01), 6),
        "hyperparameters": {"temperature": 0.7, "top_p": 1, "max_tokens": 2048, "stop": []},
    }
    if number % _TOOLS_EVERY == 0:
        arguments = {"type": "object", "properties": {"city": {"type": "string"}}}
        tool = {"name": "look_up", "description": "Look it up.", "parameters": arguments}
        event["tools"] = [{"type": "function", "function": tool}]
        event["tool_choice"] = "auto"
    return event


def _generate_text(random: Random, size: float) -> str:
    # A word with its space takes 6 bytes.
    return " ".join(random.choices(_WORDS, k=max(1, round(size / 6))))


# Measuring.


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


# Reporting.


@frozen(kw_only=True)
class Row:
    """
    One variant, and how it compares.
    """

    name: str
    ratios: Sequence[float]
    """To the baseline, one for each round."""
    orientation: str
    """Absolute figures with their units."""
    at_least: float = 0.0
    at_most: float = inf

    def __str__(self) -> str:
        middle = median(self.ratios)
        low, high = _spread(self.ratios)
        if self.at_most < inf:
            target = f"at most {self.at_most:.2f}"
        else:
            target = f"at least {self.at_least:.2f}" if self.at_least else ""
        if target:
            is_met = self.at_least <= middle <= self.at_most
            target += ": met" if is_met else ": MISSED"
        spread = f"{low:.2f} to {high:.2f}"
        return f"{self.name:<24} {middle:>7.2f}  {spread:<13} {target:<22} {self.orientation}"


def print_report(
    question: str | None,
    *,
    events: Sequence[Fields],
    setting: str,
    ratio: str,
    rows: Sequence[Row],
) -> None:
    """
    Print the answer: medians and quartiles of the ratios, and what they hold for.

    Args:
        question: The docstring of the benchmark.
        events: The workload.
        setting: What was done with it, and how often.
        ratio: What is divided by what.
        rows: The variants.
    """
    sizes = [len(orjson.dumps(event)) for event in events]
    packages = ("aiohttp", "attrs", "cattrs", "orjson", "tenacity")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    print((question or "").strip())
    print()
    print(f"{len(events)} events, {fmean(sizes):.0f} bytes on average, median {median(sizes):.0f}")
    print(setting)
    print(f"Python {platform.python_version()}, hh_exporter {__version__}, {versions}")
    print(f"{platform.platform()}, {_find_processor()}, {os.cpu_count()} CPUs")
    print()
    print(f"{'':<24} {'ratio':>7}  {'quartiles':<13} {'target':<22} medians for orientation")
    for row in rows:
        print(row)
    print(f"ratio: {ratio}; median of the rounds")


def _spread(figures: Sequence[float]) -> tuple[float, float]:
    if len(figures) == 1:
        return figures[0], figures[0]
    low, _, high = quantiles(figures, n=4)
    return low, high


def _find_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
