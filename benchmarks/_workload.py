"""
The events that benchmarks work on: recorded conversations, or made ones of their sizes.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from math import log
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Any, TypeAlias

import orjson

__all__ = ["Fields", "describe", "find_events", "generate_events", "generate_text", "load_events"]

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


def find_events() -> list[Fields]:
    """
    Load the recorded events where they are at hand, else make some.
    """
    return load_events(_RECORDED) if _RECORDED.exists() else generate_events()


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
            {"role": "system", "content": generate_text(random, size * 0.1)},
            {"role": "user", "content": generate_text(random, size * 0.5)},
        ],
        "response": {"role": "assistant", "content": generate_text(random, size * 0.4)},
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


def generate_text(random: Random, size: float) -> str:
    """
    Make words of about *size* bytes.
    """
    # A word with its space takes 6 bytes.
    return " ".join(random.choices(_WORDS, k=max(1, round(size / 6))))


def describe(events: Sequence[Fields]) -> str:
    """
    Say how many events there are, and of which size.
    """
    sizes = [len(orjson.dumps(event)) for event in events]
    return (
        f"{len(events)} events, {fmean(sizes):.0f} bytes on average, median {median(sizes):.0f}, "
        f"largest {max(sizes)}."
    )
