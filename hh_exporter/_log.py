"""
The one way in which the package logs.

A logger calls filters, handlers and formatters of the program, under their locks and on
whatever thread logs something. What they raise ends nothing here: it is reported once, by
name, on stderr.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TypeAlias

from hh_exporter._outside import comes_from_outside

__all__ = ["Log", "counted", "get_log"]

Extra: TypeAlias = Mapping[str, object] | None

_reported: set[str] = set()
"""What has been reported once."""


def counted(number: int, noun: str) -> str:
    """
    Write how many there are of something.
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


class Log:
    """
    A logger of the standard library that lets nothing through that others' code raises.
    """

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, *args: object, extra: Extra = None) -> None:
        self._log(logging.DEBUG, message, args, extra)

    def warning(self, message: str, *args: object, extra: Extra = None) -> None:
        self._log(logging.WARNING, message, args, extra)

    def error(self, message: str, *args: object, extra: Extra = None) -> None:
        self._log(logging.ERROR, message, args, extra)

    def error_once(self, message: str, *args: object) -> None:
        """
        Log an error, unless this process has logged the same text before.
        """
        if (text := message % args) not in _reported:
            _reported.add(text)
            self._log(logging.ERROR, message, args, None)

    def _log(self, level: int, message: str, args: tuple[object, ...], extra: Extra) -> None:
        try:
            # The line that is logged is that of the caller of the method above.
            self._logger.log(level, message, *args, extra=extra, stacklevel=3)
        except BaseException as exc:  # whatever the program's logging raises
            if comes_from_outside(exc):
                raise
            _report(type(exc).__name__)


def get_log(name: str) -> Log:
    return Log(name)


def _report(name: str) -> None:
    if name not in _reported:
        _reported.add(name)
        with suppress(Exception):  # there may be no stderr, or a closed one
            print(
                f"hh_exporter: a log handler or filter raised {name}; reported once",
                file=sys.stderr,
            )
