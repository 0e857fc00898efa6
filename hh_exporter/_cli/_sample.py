"""
The model events that `hh-exporter demo` sends.

The words are in sample.json: conversations with `{{slots}}`, and rows that fill
them, each told once. Here they only become events, by one seeded generator: the
sample is the same on every call, and what the exporter stamps (ids of events and
times) is left to it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from importlib.resources import files
from itertools import cycle
from random import Random
from typing import Any
from uuid import UUID

import orjson
from attrs import evolve, field, frozen
from cattrs import Converter

from hh_exporter.events import ModelEvent

__all__ = ["sample"]

SEED = 20_241_118
FAIL_EVERY = 16
"""One call in so many comes after a failed attempt."""
LOG_BYTES = 300_000
"""Size of the notes in the one large prompt, in UTF-8."""
MINUTES_PER_NOTE = 3
SLOT = re.compile(r"\{\{(\w+)\}\}")


@frozen(kw_only=True)
class _Model:
    name: str
    provider: str
    tokens_per_second: float
    usd_per_million: tuple[float, float] | None
    """Prices of prompt and completion; None for a model without a price."""
    usage: list[str]
    """How the provider names prompt, completion and total tokens; some name no total."""


@frozen
class _Failure:
    error: str
    milliseconds: float
    hyperparameters: dict[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class _Conversation:
    """
    A chat with slots; each of its assistant messages was one call of the model.
    """

    name: str
    language: str
    hyperparameters: dict[str, Any]
    messages: list[dict[str, Any]]
    variants: list[dict[str, str]]
    templated: bool = False
    """Whether the messages before the first answer are sent as a prompt template."""
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | None = None
    response_format: dict[str, Any] | None = None


@frozen(kw_only=True)
class _Theme:
    title: str
    proposal: str
    symptoms: list[str]
    findings: list[str]
    actions: list[str]


@frozen(kw_only=True)
class _Log:
    """
    What a week of support notes is put together from, and its summary.
    """

    name: str
    hyperparameters: dict[str, Any]
    system: str
    request: str
    answer: str
    days: list[str]
    desks: list[str]
    openings: list[str]
    endings: list[str]
    themes: list[_Theme]
    """The most frequent first."""


@frozen(kw_only=True)
class _Material:
    models: list[_Model]
    failures: list[_Failure]
    log: _Log
    conversations: list[_Conversation]


def sample() -> list[ModelEvent]:
    """
    Compose the 240 events of the demo.

    The calls of one chat come in their order and, where there are several,
    share a session. A failed attempt stands right before the one that worked.
    One event, in the middle, has a prompt of about 300 KB.

    Returns:
        Equal events on every call; nothing is shared between two calls.
    """
    material = _material()
    rng = Random(SEED)  # noqa: S311 - a story, not a secret
    tellings = [(chat, slots) for chat in material.conversations for slots in chat.variants]
    rng.shuffle(tellings)

    events: list[ModelEvent] = []
    for chat, slots in tellings:
        events += _tell(chat, slots, rng.choice(material.models), rng)
    events = _with_failures(events, material.failures, rng)
    events.insert(len(events) // 2, _large(material.log, rng.choice(material.models), rng))
    return events


def _material() -> _Material:
    raw = files(__package__).joinpath("sample.json").read_bytes()
    return Converter(forbid_extra_keys=True).structure(orjson.loads(raw), _Material)


def _tell(
    chat: _Conversation, slots: dict[str, str], model: _Model, rng: Random
) -> list[ModelEvent]:
    """
    Make one event of each answer in a chat, asked with all that was said before.
    """
    messages = _fill(chat.messages, slots)
    answers = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
    template = chat.messages[: answers[0]] if chat.templated else None
    common = ModelEvent(
        model=model.name,
        provider=model.provider,
        event_name=chat.name,
        source=_source(rng),
        session_id=_uuid(rng) if len(answers) > 1 else None,
        hyperparameters=chat.hyperparameters,
        template=template,
        template_inputs={name: slots[name] for name in _slots_of(template)} if template else None,
        tools=chat.tools,
        tool_choice=chat.tool_choice,
        response_format=chat.response_format,
        user_properties=_user(rng) if rng.random() < 0.5 else None,
        metadata=_metadata(chat.language, rng) if rng.random() < 0.7 else None,
    )
    return [_answered(common, messages[:at], messages[at], model, rng) for at in answers]


def _answered(
    common: ModelEvent,
    messages: list[dict[str, Any]],
    answer: dict[str, Any],
    model: _Model,
    rng: Random,
) -> ModelEvent:
    """
    Complete an event with an answer, and with the usage, time and cost that fit it.
    """
    asked = _tokens([*messages, *(common.tools or [])])
    answered = _tokens(answer["content"] or answer["tool_calls"])
    seconds = 0.25 + asked / 8_000 + answered / model.tokens_per_second
    cost = None
    if model.usd_per_million is not None:
        per_asked, per_answered = model.usd_per_million
        cost = round((asked * per_asked + answered * per_answered) / 1e6, 8)
    return evolve(
        common,
        messages=messages,
        response=answer,
        usage=dict(zip(model.usage, (asked, answered, asked + answered), strict=False)),
        duration=round(seconds * rng.uniform(0.8, 1.4) * 1_000, 1),
        cost=cost,
    )


def _with_failures(
    events: list[ModelEvent], failures: list[_Failure], rng: Random
) -> list[ModelEvent]:
    """
    Put failed attempts before some of the calls, each kind in its turn.
    """
    kinds = cycle(failures)
    told: list[ModelEvent] = []
    for count, event in enumerate(events, start=1):
        if count % FAIL_EVERY == 0:
            told.append(_failed(event, next(kinds), rng))
        told.append(event)
    return told


def _failed(event: ModelEvent, failure: _Failure, rng: Random) -> ModelEvent:
    return evolve(
        event,
        response={},
        usage={},
        cost=None,
        error=failure.error,
        duration=round(failure.milliseconds + rng.uniform(0, 40), 1),
        hyperparameters={**(event.hyperparameters or {}), **failure.hyperparameters},
    )


def _large(log: _Log, model: _Model, rng: Random) -> ModelEvent:
    """
    Make the event with the large prompt: a week of notes, and a summary that is true of them.
    """
    notes: list[str] = []
    themes: Counter[str] = Counter()
    size = 0
    while size < LOG_BYTES:
        (theme,) = rng.choices(log.themes, weights=range(len(log.themes), 0, -1))
        themes[theme.title] += 1
        notes.append(_note(log, theme, len(notes), rng))
        size += len(notes[-1].encode())

    proposals = {theme.title: theme.proposal for theme in log.themes}
    most = [
        f"- **{title}** ({count} notes): {proposals[title]}"
        for title, count in themes.most_common(3)
    ]
    common = ModelEvent(
        model=model.name,
        provider=model.provider,
        event_name=log.name,
        source="production",
        hyperparameters=log.hyperparameters,
        metadata={**_metadata("en", rng), "notes": len(notes)},
    )
    messages = [
        {"role": "system", "content": log.system},
        {"role": "user", "content": "\n\n".join([log.request, *notes])},
    ]
    answer = _fill(log.answer, {"total": str(len(notes)), "themes": "\n".join(most)})
    return _answered(common, messages, {"role": "assistant", "content": answer}, model, rng)


def _note(log: _Log, theme: _Theme, number: int, rng: Random) -> str:
    day, minute = divmod(number * MINUTES_PER_NOTE, 8 * 60)
    hour, minute = divmod(minute, 60)
    head = (
        f"{log.days[day]} {9 + hour:02}:{minute:02}, {rng.choice(log.desks)}, no. {4100 + number}."
    )
    parts = (log.openings, theme.symptoms, theme.findings, theme.actions, log.endings)
    return " ".join([head, *(rng.choice(part) for part in parts)])


def _fill(value: Any, slots: dict[str, str]) -> Any:
    """
    Copy a JSON value with the slots in its texts filled.
    """
    if isinstance(value, str):
        return SLOT.sub(lambda slot: slots[slot[1]], value)
    if isinstance(value, list):
        return [_fill(item, slots) for item in value]
    if isinstance(value, dict):
        return {key: _fill(item, slots) for key, item in value.items()}
    return value


def _slots_of(template: list[dict[str, Any]]) -> list[str]:
    return sorted({name for message in template for name in SLOT.findall(message["content"])})


def _tokens(value: Any) -> int:
    """
    Guess how many tokens a text or JSON value is.

    Four letters of a Latin script make about one token, as do two of another.
    """
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    latin = sum(letter < "\u0250" for letter in text)
    return math.ceil(latin / 4 + (len(text) - latin) / 2)


def _source(rng: Random) -> str:
    return "staging" if rng.random() < 0.2 else "production"


def _user(rng: Random) -> dict[str, Any]:
    return {
        "user_id": f"u_{rng.randrange(10_000):04}",
        "plan": rng.choice(["free", "team", "enterprise"]),
    }


def _metadata(language: str, rng: Random) -> dict[str, Any]:
    return {
        "language": language,
        "region": rng.choice(["eu-central", "eu-west", "us-east", "ap-south"]),
        "release": rng.choice(["2024.46.1", "2024.46.2", "2024.47.0"]),
    }


def _uuid(rng: Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))
