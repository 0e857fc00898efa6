"""
Where a spool is, and its limits.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

from hh_exporter._settings.kinds import Kind, choice, flag, seconds, whole

__all__ = ["Spool", "expanded", "to_path"]

_DAY = 24 * 60 * 60


def expanded(path: str | os.PathLike[str]) -> Path:
    """
    Replace a ~ at the front of *path*, and make it mean the same in any working directory.

    Raises:
        ValueError: Nothing says where that home is, or the working directory is gone.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:  # no HOME, and no such user
        raise ValueError("nothing says where that home is") from None
    except OSError:
        raise ValueError("the working directory is gone") from None


_directory: Kind[Path] = Kind("a directory", lambda v: isinstance(v, Path), expanded)


def to_path(value: Any) -> Any:
    """
    Make a path of a text, or leave it as it is for a validator to refuse.
    """
    if not isinstance(value, str | os.PathLike):
        return value
    try:
        return expanded(value)
    except ValueError:
        return str(value)


@frozen
class Spool:
    """
    Where events wait on disk, for how long, and how many.

    Its files hold what would be sent, packed but not encrypted; only this user may read them.
    """

    directory: Path = field(converter=to_path, validator=_directory)
    """
    Created if it is missing; several exporters and processes may share it. `~` is your home, and
    a relative path is resolved when the Spool is created.
    """
    durable: bool = field(default=False, validator=flag(), kw_only=True)
    """
    Whether every event is written to disk, and not only what memory has no room for: `put`
    returns once it is written; what `push` takes is written within 50 ms.
    """
    max_bytes: int = field(default=512 * 2**20, validator=whole(1, unit="bytes"), kw_only=True)
    """
    Bytes of the events and dead letters of one exporter, packed, which takes half of their JSON;
    its files take 1.2 times that on disk at most. If it is full, the oldest dead letters are
    deleted; if none are left, the queue's overflow policy decides.
    """
    max_age: float = field(default=7.0 * _DAY, validator=seconds(), kw_only=True)
    """
    Seconds after which an event on disk is dropped as `expired`, and a dead letter deleted: at
    the start, and within an hour while the exporter runs.
    """
    adopt: Literal["same_key", "any_key"] = field(
        default="same_key", validator=choice("same_key", "any_key"), kw_only=True
    )
    """
    Which files of processes that have exited are taken over: with `same_key`, those that were
    written with the exporter's own key; with `any_key`, those of every key that was used with the
    same address and dialect, for a key that is rotated. Their events are then sent with the
    exporter's key: don't use it if keys of several projects share the directory.
    """
    fsync: bool = field(default=False, validator=flag(), kw_only=True)
    """Whether a commit also survives a power failure, and not only the end of the process."""
