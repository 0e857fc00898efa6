"""
Where the contents of spool files are sent, and whether this key may send them.

A file names its address in plain text, and its seal proves that address and key belong
together: the key is never sent to an address that only a file names.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from hh_exporter._cli._errors import CallError
from hh_exporter._cli._report import printable
from hh_exporter._cli._setup import read_usable_settings
from hh_exporter._cli._spools import Spool
from hh_exporter._environment import (
    Settings,
    find_variable,
    is_unset,
    read_settings,
    variables_of,
)
from hh_exporter._settings.jetstream import JetStream, subject_of
from hh_exporter._settings.secret import Secret
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Identity
from hh_exporter._spool.seals import find_difference
from hh_exporter.exceptions import ConfigError

__all__ = ["Place", "find_target"]

_OF_STREAM = variables_of(JetStream, "HH_EXPORTER_JETSTREAM")
[_SERVERS], [_SUBJECT] = _OF_STREAM["servers"], _OF_STREAM["subject"]

_AGELESS = 1e11
_BOUNDLESS = 2**62
"""The user asked for it, so nothing is too old to be sent, or too large to be kept again."""


@frozen(order=True)
class Place:
    """
    Where the records of a file are to be sent, and how they were made.
    """

    base_url: str
    """As in `Settings.place`."""
    dialect: str

    @classmethod
    def of(cls, file: SpoolFile) -> Place:
        return cls(file.base_url, file.dialect)

    @property
    def subject(self) -> str | None:
        """
        That of the stream which takes the records; None if they go to the API itself.
        """
        return subject_of(self.base_url)

    def __str__(self) -> str:
        """
        What chooses it: options, or variables for a stream.
        """
        to = f"--url {shlex.quote(self.base_url)}"
        if (subject := self.subject) is not None:
            to = f"{_SERVERS}=… {_SUBJECT}={shlex.quote(subject)}"
        return printable(f"{to} --dialect {self.dialect}")

    def is_of(self, path: Path, api_key: Secret | None) -> bool:
        """
        Say whether the file at *path* goes here by this key; a stream has none.
        """
        if self.subject is not None:
            api_key = None
        identity = Identity(base_url=self.base_url, dialect=self.dialect, api_key=api_key)
        return not find_difference(path, identity)


def find_target(
    spool: Spool, paths: Collection[Path], given: Mapping[str, Any]
) -> tuple[Settings, list[Path]]:
    """
    Find the one place to send to, and those of *paths* that go there.

    *given* and the environment come first, then what the files say. Files that go
    elsewhere, or were written with another key, are named.

    Raises:
        CallError: They go to several places and none is chosen, or as in
            `read_usable_settings`.
    """
    places = spool.look(Place.of, paths)
    told, fixed = _read_told(given)
    meant = {
        path: place
        for path, place in places.items()
        if all(getattr(place, name) == value for name, value in fixed.items())
    }
    ours = [path for path, place in meant.items() if place.is_of(path, told.api_key)]
    found = sorted({meant[path] for path in ours})
    if len(found) > 1:
        choices = "".join(f"\n  {place}" for place in found)
        raise CallError(f"what is there goes to {len(found)} places: name one of them{choices}")
    likely = next(iter(found or meant.values()), None)
    settings = _read_settings(likely, {**given, "spool": spool.directory.absolute()})
    for path, place in places.items():
        if path not in meant:
            spool.leave(path, f"what it holds goes elsewhere: {place}")
        elif path not in ours and settings.api_key is None:
            spool.leave(path, "it was written with a key: set HH_API_KEY")
        elif path not in ours:
            spool.leave(path, "HH_API_KEY is not the key with which it was written")
    assert settings.spool is not None  # noqa: S101 - it is given
    own = attrs.evolve(
        settings.spool,
        durable=False,
        max_age=_AGELESS,
        max_bytes=_BOUNDLESS,
        adopt="same_key",
    )
    return attrs.evolve(settings, spool=own), ours


def _read_settings(place: Place | None, given: Mapping[str, Any]) -> Settings:
    """
    Read the settings of an exporter that sends to *place*.
    """
    if place is None:
        return read_usable_settings(given, os.environ)
    subject = place.subject
    if subject is None:
        return read_usable_settings({**given, **attrs.asdict(place)}, os.environ)
    if find_variable([_SERVERS], os.environ) is None:
        raise CallError(f"what is there waits for a stream: set {_SERVERS}")
    given = {**given, "base_url": None, "dialect": place.dialect}
    settings = read_usable_settings(given, {**os.environ, _SUBJECT: subject})
    assert settings.jetstream is not None  # noqa: S101 - its servers are there
    return settings


def _read_told(given: Mapping[str, Any]) -> tuple[Settings, dict[str, str]]:
    """
    Read the settings, and those of a place that are given and not defaults.
    """
    try:
        told = read_settings(dict(given), os.environ)
    except ConfigError as exc:
        raise CallError(str(exc)) from None
    variables = variables_of(Settings)
    fixed = {
        name: getattr(told, name)
        for name in attrs.fields_dict(Place)
        if not is_unset(given[name]) or find_variable(variables[name], os.environ)
    }
    return told, fixed if told.jetstream is None else {**fixed, "base_url": told.place}
