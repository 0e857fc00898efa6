"""
What settings.md says of each setting, generated from the code.

A comment `<!-- settings: NAME -->` stands for the fields of that class. Allowed values come
from the validator and the meaning from the docstring.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import attrs

from hh_exporter import BatchLimits, Exporter, JetStream, QueueLimits, RetryPolicy, Spool
from hh_exporter._environment import Settings, variables_of
from hh_exporter._settings.kinds import Kind

__all__ = ["GROUPS", "describe", "fill_in"]

GROUPS: dict[str, type[Any]] = {
    "": Settings,
    "queue": QueueLimits,
    "batch": BatchLimits,
    "retry": RetryPolicy,
    "spool": Spool,
    "jetstream": JetStream,
}
"""The classes whose fields are settings, by the name of their argument."""

_SHORT = {"spool": ", or a directory", "jetstream": ", or addresses of its servers"}
"""What an argument may be instead of its group."""

_PLACE = re.compile(r"^<!-- settings: (\w+) -->$", re.MULTILINE)
_MEBI = 2**20


def fill_in(page: str) -> str:
    """
    Put the settings of each class where *page* has its name.
    """
    owners = {owner.__name__: (path, owner) for path, owner in GROUPS.items()}

    def fill(place: re.Match[str]) -> str:
        return "\n".join(describe(*owners[place[1]]))

    return _PLACE.sub(fill, page)


def describe(path: str, owner: type[Any]) -> Iterator[str]:
    """
    Make a section for each field of *owner*, whose own setting is *path*.
    """
    variables = variables_of(owner, f"HH_EXPORTER_{path}".rstrip("_"))
    meanings = _read_arguments() if owner is Settings else _read_fields(owner)
    for field in attrs.fields(owner):
        names = ", ".join(f"`{name}`" for name in variables.get(field.name, ()))
        yield f"### {path}.{field.name}\n".replace(" .", " ")
        yield f"{meanings[field.name]}\n"
        yield f"- values: {_shape(field)}"
        yield f"- default: {_show(field.default)}"
        yield f"- variable: {names}\n" if names else "- variable: none\n"


def _shape(field: attrs.Attribute[Any]) -> str:
    kind = getattr(field.validator, "validator", field.validator)  # in optional()
    if isinstance(kind, Kind):
        return kind.shape
    group = GROUPS[field.name].__name__
    return f"a [`{group}`](#{field.name}-{group.lower()}){_SHORT.get(field.name, '')}"


def _show(default: Any) -> str:
    match default:
        case attrs.NOTHING | None:
            return "none"
        case attrs.Factory():  # type: ignore[misc]  # a class, though typed as a function
            return "the defaults below"
        case bool():
            return f"`{default}`"
        case int() if default >= _MEBI and not default % _MEBI:
            return f"`{default}`, {default // _MEBI} MiB"
        case str():
            return f'`"{default}"`'
    return f"`{default}`"


def _read_arguments() -> dict[str, str]:
    """
    Read the descriptions of arguments in the exporter's docstring.
    """
    text = inspect.getdoc(Exporter) or ""
    listed = text.partition("\nArgs:\n")[2].partition("\n\nRaises:")[0]
    entries = re.findall(r"^(\w+): (.*(?:\n .*)*)", dedent(listed), re.MULTILINE)
    # The default has a line of its own.
    return {name: re.sub("; default .*", ".", _join(meaning)) for name, meaning in entries}


def _read_fields(owner: type[Any]) -> dict[str, str]:
    """
    Read the text below each field of *owner*.
    """
    [cls] = ast.parse(dedent(inspect.getsource(owner))).body
    assert isinstance(cls, ast.ClassDef)  # noqa: S101
    found = {}
    for field, below in zip(cls.body, cls.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = _join(text)
    return found


def _join(text: str) -> str:
    return " ".join(text.split())
