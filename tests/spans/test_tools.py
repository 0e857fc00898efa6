"""
Definitions of tools, however they are written.
"""

from __future__ import annotations

from typing import Any

import pytest

from hh_exporter._spans.tools import tools_of

SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}}
WHOLE = {
    "type": "function",
    "function": {"name": "look_up", "description": "Find it", "parameters": SCHEMA},
}
SAID = {"name": "look_up", "description": "Find it"}


@pytest.mark.parametrize(
    "definition",
    [
        WHOLE,
        {"type": "function", **SAID, "parameters": SCHEMA},
        {**SAID, "parameters": SCHEMA, "type": None},
        {**SAID, "input_schema": SCHEMA},
        {"type": "custom", **SAID, "input_schema": SCHEMA},
        {"function_declarations": [{**SAID, "parameters": SCHEMA}]},
    ],
)
def test_four_forms_are_one(definition: dict[str, Any]) -> None:
    """
    OpenAI's.
    """
    assert tools_of([definition]) == [WHOLE]


def test_what_is_unknown_is_left_out_or_stays() -> None:
    """
    A schema that is null is none; a tool of the provider's own has no function.
    """
    own = {"type": "web_search", "name": "web_search"}

    assert tools_of([{"name": "look_up", "parameters": None}, own, "odd"]) == [
        {"type": "function", "function": {"name": "look_up"}},
        own,
        "odd",
    ]


@pytest.mark.parametrize("nothing", [None, [], "", {}])
def test_no_tools_are_none(nothing: object) -> None:
    """
    An empty list says nothing.
    """
    assert tools_of(nothing) is None
