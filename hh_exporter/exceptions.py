"""
The exceptions: what can go wrong for a caller who can act on it.

Every exception derives from `ExporterError`, says in its text what to do, and
never carries a key or a payload in that text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from hh_exporter._outcomes import DropReason

__all__ = [
    "ConfigError",
    "DeliveryError",
    "EncodeError",
    "EventError",
    "ExporterError",
    "SpoolError",
]


class ExporterError(Exception):
    """
    Base of all errors of this package.

    Raised itself if an exporter is used in a state that does not allow it:
    `put` or `create_model_event` after `aclose`.
    """


class ConfigError(ExporterError, ValueError):
    """
    A setting has a value that is not allowed; the text names both.
    """


class EventError(ExporterError, ValueError):
    """
    A value is not a model event.

    Attributes:
        field: Wire name of the field that is wrong, None if it is the whole.
        problem: What is wrong with it, without the value.
    """

    def __init__(self, field: str | None, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field
        self.problem = problem

    def __reduce__(self) -> tuple[type[Self], tuple[str | None, str]]:
        return type(self), (self.field, self.problem)


class EncodeError(ExporterError):
    """
    An event can't or may not be encoded: the exporter drops and counts it.

    Its text is fit for a log: fields and types, never values.

    Attributes:
        reason: What the event is dropped as.
    """

    def __init__(self, reason: DropReason, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason

    def __reduce__(self) -> tuple[type[Self], tuple[DropReason, str]]:
        return type(self), (self.reason, str(self))


class DeliveryError(ExporterError):
    """
    One event, sent by `create_model_event`, was not created.

    Attributes:
        status: The HTTP status of the last answer, None without an answer.
        body: The server's own text. It can echo a prompt, so it is in
            neither `str()` nor `repr()` of this error.
        reason: Why the event was dropped, None if the server rejected it.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        body: str = "",
        reason: DropReason | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.reason = reason


class SpoolError(ExporterError):
    """
    A spool or one of its files can't be used: others can access it, or its version differs.
    """
