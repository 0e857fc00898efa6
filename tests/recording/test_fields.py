"""
The fields that calls take are those of the classes, for type checkers and at run time.
"""

from __future__ import annotations

from typing import Any, Required, get_args, get_origin, get_type_hints

import pytest

from hh_exporter import ModelEvent, SessionProperties
from hh_exporter._recording.fields import (
    EventFields,
    ModelEventFields,
    SessionFields,
    UpdateFields,
)
from hh_exporter.events import Event, EventUpdate
from tests.recording.recorder import Recorder


@pytest.mark.parametrize(
    ("fields", "cls", "own"),
    [
        (ModelEventFields, ModelEvent, set()),
        (EventFields, Event, {"event_type"}),
        (SessionFields, SessionProperties, set()),
        (UpdateFields, EventUpdate, {"event_id"}),
    ],
)
def test_what_calls_take_is_what_the_class_has(fields: Any, cls: type, own: set[str]) -> None:
    """
    All names, types and necessities agree, but for what is a parameter of its own.
    """
    taken = get_type_hints(fields, include_extras=True)
    required = {name for name, hint in taken.items() if get_origin(hint) is Required}
    plain = {n: get_args(hint)[0] if n in required else hint for n, hint in taken.items()}
    had = get_type_hints(cls, include_extras=True)

    assert plain == {name: hint for name, hint in had.items() if name not in own}
    assert required == ({"model"} if cls is ModelEvent else set())


@pytest.mark.parametrize(
    ("call", "fields", "said"),
    [
        ("record", {"mesages": []}, "record() has no field 'mesages': did you mean 'messages'?"),
        ("record", {"model": "m", "modl": 1}, "record() has no field 'modl': did you mean 'model'"),
        ("record", {"messages": []}, "record() needs a model, such as record(model='gpt-4o')"),
        ("trace", {"input": {}}, "trace() has no field 'input': did you mean 'inputs'?"),
        ("trace", {"messages": []}, "trace() has no field 'messages'"),
        ("trace", {"capture_input": 0}, "trace() has no field 'capture_input': did you mean 'c"),
        (
            "record",
            {"model": "m", "sesion": 0},
            "record() has no field 'sesion': did you mean 'session'?",
        ),
        ("session", {"sesion_id": "s"}, "session() has no field 'sesion_id': did you mean 'sess"),
        ("session", {"zzz": 1}, "session() has no field 'zzz', but session_name, session_id, sou"),
    ],
)
def test_a_wrong_name_is_an_error_where_it_is_written(
    recorder: Recorder, call: str, fields: dict[str, Any], said: str
) -> None:
    """
    Not where the block begins; it names what may be meant.
    """
    with pytest.raises(TypeError) as caught:
        getattr(recorder, call)(**fields)

    assert str(caught.value).startswith(said)
    assert recorder.pushed == []


def test_a_session_is_a_name_or_its_properties(recorder: Recorder) -> None:
    """
    Properties that are there already take no more fields.
    """
    any_recorder: Any = recorder
    with pytest.raises(TypeError, match=r"a name or a SessionProperties, not a dict"):
        any_recorder.session({"session_name": "chat"})
    with pytest.raises(TypeError, match=r"takes fields, or a SessionProperties that has them"):
        any_recorder.session(SessionProperties(), source="test")


def test_a_name_is_the_first_argument(recorder: Recorder) -> None:
    """
    It may be given by the name of its field as well.
    """
    with recorder.session(session_name="chat") as session, recorder.trace(event_name="a") as step:
        pass

    assert (session.session_name, step.event_name, step.event_type) == ("chat", "a", "chain")


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("trace", "outputs"),
        ("trace", "event_id"),
        ("record", "response"),
        ("record", "stream"),
        ("session", "session_id"),
    ],
)
def test_a_block_that_was_not_entered_says_how_to(recorder: Recorder, call: str, name: str) -> None:
    """
    Its event's fields are not there, to read or to set.
    """
    block: Any = getattr(recorder, call)(**({"model": "m"} if call == "record" else {}))
    for use in (lambda: getattr(block, name), lambda: setattr(block, name, {})):
        with pytest.raises(AttributeError, match=rf"with exporter\.{call}\(…\) as .*\.{name}"):
            use()
