"""
The option tables of cli.md, generated from the commands.

A comment `<!-- options: NAME -->` stands for the usage and options of that command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from hh_exporter._cli import cli

__all__ = ["COMMANDS", "PARENT", "fill_in"]

_PLACE = re.compile(r"^<!-- options: ([a-z -]+) -->$", re.MULTILINE)


def _leaves(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _leaves(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


COMMANDS: dict[str, click.Command] = dict(_leaves(cli))
"""Each command that does something, by its path below `hh-exporter`."""

PARENT = click.Context(cli, info_name="hh-exporter", **cli.context_settings)
"""Without it, click would keep another help option for each command than it has."""


def fill_in(page: str) -> str:
    """
    Put the options of each command where *page* has its name.
    """
    return _PLACE.sub(lambda place: "\n".join(_table(place[1])), page)


def _table(path: str) -> Iterator[str]:
    command = COMMANDS[path]
    context = click.Context(command, info_name=path, parent=PARENT)
    usage = " ".join((context.command_path, *command.collect_usage_pieces(context)))
    yield f"```text\n{usage}\n```\n"
    yield "| option | meaning |"
    yield "| --- | --- |"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            record = parameter.get_help_record(context) or ("", "")
            option, meaning = (text.replace("|", "\\|") for text in record)
            meaning = re.sub(r"(?<!\S)--[a-z-]+", r"`\g<0>`", meaning)
            yield f"| `{option}` | {meaning} |"
