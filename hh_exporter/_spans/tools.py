"""
Definitions of tools, in the form of OpenAI Chat Completions.

Clients and instrumentations have four forms of the same: flat, with a `function`, with an
`input_schema`, or as a list of `function_declarations`. What is none of these, such as a tool of
the provider's own, stays as it is.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

__all__ = ["tools_of"]

Json: TypeAlias = dict[str, Any]

_SCHEMAS: Final = ("parameters", "input_schema", "parameters_json_schema")


def tools_of(definitions: Any) -> list[Any] | None:
    """
    Make one list of *definitions*: a list, or one definition.
    """
    if not isinstance(definitions, list):
        definitions = [definitions] if definitions else []
    tools: list[Any] = []
    for one in definitions:
        declared = one.get("function_declarations") if isinstance(one, dict) else None
        tools += map(_tool, declared) if isinstance(declared, list) else [_tool(one)]
    return tools or None


def _tool(definition: Any) -> Any:
    if not isinstance(definition, dict) or "function" in definition or "name" not in definition:
        return definition
    if definition.get("type") not in (None, "function") and "input_schema" not in definition:
        return definition
    function: Json = {}
    for name, value in definition.items():
        if value is not None and name != "type":
            function["parameters" if name in _SCHEMAS else name] = value
    return {"type": "function", "function": function}
