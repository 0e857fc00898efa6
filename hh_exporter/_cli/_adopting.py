"""
Hand spool files over to the key that is in use now.

Only the key changes: what a file holds still goes to the address that it names, in the
dialect that it was made for, and that address is one that the user gave or set, never
one that only a file names.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click
import orjson

from hh_exporter._cli._setup import read_usable_settings
from hh_exporter._cli._spools import Count, Spool, tell_count
from hh_exporter._cli._target import Place
from hh_exporter._environment import Settings
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Identity

__all__ = ["hand_over"]


def hand_over(spool: Spool, given: Mapping[str, Any], *, yes: bool, as_json: bool) -> NoReturn:
    """
    Hand files of other keys over to the key of the settings, and end the process.

    Each file is changed in one transaction. Files of another address or dialect, and those
    that a running process holds, are left as they are and named.

    Args:
        given: The address and the dialect, as far as they are given.
        yes: Whether the user need not be asked.
    """
    settings = read_usable_settings(given, os.environ, by_http=True)
    meant = _find(spool, settings)
    if meant and not yes:
        told = f"{_tell(meant.values())} in {tell_count(len(meant), 'file')}"
        click.confirm(
            f"Hand {told} over to the key in use, whose project gets them, at {settings.base_url}?",
            abort=True,
            err=True,
        )
    identity = Identity(
        base_url=settings.base_url, dialect=settings.dialect, api_key=settings.api_key
    )

    def change(file: SpoolFile) -> Count:
        file.hand_over(identity)
        return Count(file.count, file.letters)

    done = spool.take(meant, change)
    if as_json:
        numbers = {
            "files": len(done),
            "records": sum(n.records for n in done.values()),
            "dead_letters": sum(n.letters for n in done.values()),
            "held": spool.held,
            "others": spool.others,
            "unreadable": spool.unreadable,
        }
        click.echo(orjson.dumps(numbers).decode())
    else:
        click.echo(f"handed over {_tell(done.values())} in {tell_count(len(done), 'file')}")
    raise SystemExit(0 if spool.is_complete else 1)


def _find(spool: Spool, settings: Settings) -> dict[Path, Count]:
    """
    Find the files with the address and the dialect of *settings* and another key.
    """
    target = Place(settings.base_url, settings.dialect)
    meant = {}

    def read(file: SpoolFile) -> tuple[Place, Count]:
        return Place.of(file), Count(file.count, file.letters)

    for path, (place, count) in spool.look(read).items():
        if place.subject is not None:
            spool.leave(path, "its events wait for a stream, which has no key")
        elif place.dialect != target.dialect and place.base_url == target.base_url:
            spool.leave(path, f"its events were made for another dialect, choose it with {place}")
        elif place != target:
            spool.leave(path, f"what it holds goes to another address, choose it with {place}")
        elif not place.is_of(path, settings.api_key) and (count.records or count.letters):
            meant[path] = count
    return meant


def _tell(counts: Collection[Count]) -> str:
    records = tell_count(sum(n.records for n in counts), "record")
    return f"{records} and {tell_count(sum(n.letters for n in counts), 'dead letter')}"
