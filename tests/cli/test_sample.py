"""
The events of the demo: how many, how varied, and that the API takes each of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import orjson
import pytest
import yaml
from jsonschema import Draft202012Validator

from hh_exporter._cli._sample import sample

if TYPE_CHECKING:
    from hh_exporter.events import ModelEvent

OPENAPI = Path(__file__).parents[1] / "wire" / "openapi" / "legacy-model-events.yaml"
SCRIPTS = {
    "ja": "[\u3040-\u30ff]",
    "zh": "[\u4e00-\u9fff]",
    "ar": "[\u0600-\u06ff]",
    "hi": "[\u0900-\u097f]",
}
LANGUAGES = {"en", "de", "fr", "es", "pt", *SCRIPTS}
EMOJI = re.compile("[\U0001f300-\U0001faff]")
OBJECT = {"type": "object"}
LARGE = 250_000
Wire: TypeAlias = dict[str, Any]


@pytest.fixture(scope="module")
def events() -> list[Wire]:
    """
    The sample as it goes over the wire, but for the stamps of an exporter.
    """
    return [as_wire(event) for event in sample()]


@pytest.fixture(scope="module")
def answered(events: list[Wire]) -> list[Wire]:
    return [event for event in events if "error" not in event]


def as_wire(event: ModelEvent) -> Wire:
    wire = attrs.asdict(event, filter=lambda _, value: value is not None)
    return {"project": "demo", **wire}


def size(event: Wire) -> int:
    return len(orjson.dumps(event))


def text_of(event: Wire) -> str:
    return orjson.dumps([event["messages"], event["response"]]).decode()


def fill(value: Any, inputs: dict[str, str]) -> Any:
    """
    Put *inputs* into the placeholders of a template, by way of its JSON text.
    """
    text = orjson.dumps(value).decode()
    for name, words in inputs.items():
        text = text.replace("{{" + name + "}}", orjson.dumps(words).decode()[1:-1])
    return orjson.loads(text)


def test_the_sample_has_240_events(events: list[Wire]) -> None:
    """
    The demo sends 240 events.
    """
    assert len(events) == 240


def test_every_call_gives_equal_events() -> None:
    """
    The sample is the same on every call.
    """
    assert sample() == sample()


def test_two_calls_share_nothing() -> None:
    """
    Whoever changes the events of one call finds those of the next unchanged.
    """
    before = [as_wire(event) for event in sample()]
    for event in sample():
        wire = attrs.asdict(event, recurse=False)
        wire["messages"].clear()
        wire["response"]["content"] = "changed"
        wire["hyperparameters"].clear()

    assert [as_wire(event) for event in sample()] == before


def test_every_event_satisfies_the_api(events: list[Wire]) -> None:
    """
    Each event, with a project, is a CreateModelEvent of the API.
    """
    document = yaml.safe_load(OPENAPI.read_text(encoding="utf-8"))
    schema = {"$ref": "#/components/schemas/CreateModelEvent", **document}
    validator = Draft202012Validator(schema)

    assert [
        (number, error.json_path, error.message)
        for number, event in enumerate(events)
        for error in validator.iter_errors(event)
    ] == []


def test_every_event_is_plain_json(events: list[Wire]) -> None:
    """
    orjson writes each event as it is, and reads the same again.
    """
    assert orjson.loads(orjson.dumps(events)) == events


def test_the_stamps_are_left_to_the_exporter() -> None:
    """
    No event has an id, a time or a project of its own.
    """
    stamps = ("event_id", "start_time", "end_time", "project")

    assert not any(getattr(event, stamp) for event in sample() for stamp in stamps)


def test_no_payload_is_repeated(answered: list[Wire]) -> None:
    """
    Every call was asked once, and hardly two answers are the same.
    """
    assert len({orjson.dumps(event["messages"]) for event in answered}) == len(answered)
    assert len({orjson.dumps(event["response"]) for event in answered}) > 200


def test_no_slot_is_left_open(events: list[Wire]) -> None:
    """
    Placeholders are seen in templates only.
    """
    assert not any(re.search(r"\{\{\w", text_of(event)) for event in events)


def test_nine_languages_are_spoken(events: list[Wire]) -> None:
    """
    The sample speaks nine languages in five scripts, and emoji.
    """
    texts: defaultdict[str, list[str]] = defaultdict(list)
    for event in events:
        if "metadata" in event:
            texts[event["metadata"]["language"]].append(text_of(event))

    assert texts.keys() == LANGUAGES
    for language, letters in SCRIPTS.items():
        assert all(re.search(letters, text) for text in texts[language])
    assert sum(bool(EMOJI.search(text_of(event))) for event in events) >= 20


def test_models_sources_and_names_vary(events: list[Wire]) -> None:
    """
    Several providers, both environments and many purposes take part.
    """
    assert len({(event["model"], event["provider"]) for event in events}) >= 8
    assert {event["source"] for event in events} == {"production", "staging"}
    assert len({event["event_name"] for event in events}) >= 25
    assert all(event["hyperparameters"] for event in events)
    assert 50 < sum("user_properties" in event for event in events) < 200


def test_a_chat_is_one_session(events: list[Wire]) -> None:
    """
    Each call of a session holds what was said before it, the last answer included.
    """
    chats: defaultdict[str, list[Wire]] = defaultdict(list)
    for event in events:
        if "session_id" in event:
            chats[event["session_id"]].append(event)

    assert len(chats) >= 50
    for chat in chats.values():
        assert len({(event["model"], event["provider"], event["source"]) for event in chat}) == 1
        told = [event for event in chat if "error" not in event]
        assert len(told) > 1
        for before, after in pairwise(told):
            heard = [*before["messages"], before["response"]]
            assert after["messages"][: len(heard)] == heard


def test_tool_calls_fit_their_tools(answered: list[Wire]) -> None:
    """
    A model calls the tools that it was given, with arguments that their schemas allow.
    """
    calls = 0
    for event in answered:
        tools = {tool["function"]["name"]: tool["function"] for tool in event.get("tools", [])}
        for call in event["response"].get("tool_calls", []):
            function = call["function"]
            Draft202012Validator(tools[function["name"]]["parameters"]).validate(
                orjson.loads(function["arguments"])
            )
            calls += 1

    assert calls >= 15
    assert {event["tool_choice"] for event in answered if "tools" in event} == {"auto"}


def test_results_of_tools_answer_calls(answered: list[Wire]) -> None:
    """
    Each message of a tool is JSON and answers a call that was made before it.
    """
    results = 0
    for event in answered:
        made: set[str] = set()
        for message in event["messages"]:
            made |= {call["id"] for call in message.get("tool_calls", [])}
            if message["role"] == "tool":
                assert message["tool_call_id"] in made
                assert orjson.loads(message["content"])
                results += 1

    assert results >= 15


def test_templates_give_the_messages(events: list[Wire]) -> None:
    """
    A template filled with its inputs is the prompt that was sent.
    """
    templated = [event for event in events if "template" in event]

    assert len(templated) >= 15
    for event in templated:
        assert event["template_inputs"]
        assert fill(event["template"], event["template_inputs"]) == event["messages"]


def test_structured_answers_keep_their_format(answered: list[Wire]) -> None:
    """
    An answer in a response format is JSON, and of the asked schema where there is one.
    """
    kinds = []
    for event in answered:
        if (wanted := event.get("response_format")) is None:
            continue
        kinds.append(wanted["type"])
        answer = orjson.loads(event["response"]["content"])
        schema = wanted["json_schema"]["schema"] if "json_schema" in wanted else OBJECT
        Draft202012Validator(schema).validate(answer)

    assert kinds.count("json_schema") >= 3
    assert kinds.count("json_object") >= 3


def test_failed_attempts_come_before_the_call_that_worked(events: list[Wire]) -> None:
    """
    A failed attempt has an error, an empty response and no cost; its next attempt works.
    """
    failed = [(event, after) for event, after in pairwise(events) if "error" in event]

    assert len(failed) == sum("error" in event for event in events) >= 10
    for event, after in failed:
        assert event["response"] == event["usage"] == {}
        assert "cost" not in event
        assert "error" not in after
        assert after["messages"] == event["messages"]


def test_failures_are_of_many_kinds(events: list[Wire]) -> None:
    """
    Rate limit, timeout, context length and content filter are among the failures.
    """
    errors = {event["error"] for event in events if "error" in event}

    assert len(errors) >= 6
    for kind in ("RateLimit", "Timeout", "context_length", "ContentFilter"):
        assert any(kind in error for error in errors)


def test_usage_duration_and_cost_are_plausible(answered: list[Wire]) -> None:
    """
    No model writes faster than models do, and self-hosted ones have no price.
    """
    for event in answered:
        asked, written, *total = event["usage"].values()
        assert 5 < asked < size(event)
        assert 0 < written < size(event)
        assert total in ([], [asked + written])
        assert 0 < written / event["duration"] * 1_000 < 160
        assert ("cost" in event) == (event["provider"] != "self-hosted")
        assert 0 < event.get("cost", 0.01) < 1


def test_one_event_is_large(events: list[Wire]) -> None:
    """
    One prompt is of about 300 KB, all others are small.
    """
    *others, large = sorted(map(size, events))

    assert LARGE < large < 350_000
    assert others[-1] < 10_000


def test_the_large_prompt_is_varied_and_its_summary_true(events: list[Wire]) -> None:
    """
    Hardly two notes of the large prompt are alike, and the summary counts them.
    """
    (event,) = [event for event in events if size(event) > LARGE]
    _, *notes = event["messages"][-1]["content"].split("\n\n")
    stories = {note.split(". ", 2)[2] for note in notes}

    assert len(stories) > 0.95 * len(notes)
    assert f"the {len(notes)} notes" in event["response"]["content"]
