"""
Why no server of a cluster takes us, in words that help to fix it.
"""

from __future__ import annotations

import os
import re
import socket
import ssl

from nats import errors

from hh_exporter.exceptions import ConfigError

__all__ = ["NoConnection", "explain", "printable"]

_CHECK_USER = "check user and password, or credentials, and what they permit"
"""What to do where a server refuses the user."""

_REFUSALS = ("authorization", "authentication", "permissions violation")
"""Words of a server that refuses the user, in lower case."""

_LONGEST = 200
"""Characters of what a server says that are told."""


class NoConnection(Exception):  # noqa: N818 - what it says is no fault of ours
    """
    No server took us.

    Args:
        reason: Why, in words fit for a log.
        is_refused: Whether a server refuses the user: it will again.
    """

    def __init__(self, reason: str, *, is_refused: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.is_refused = reason, is_refused

    @property
    def problem(self) -> str:
        """
        Why, and what to do where the user is refused.
        """
        return f"{self.reason}: {_CHECK_USER}" if self.is_refused else self.reason


def explain(error: Exception, cause: Exception | None) -> NoConnection:
    """
    Say what went wrong, in words that help to fix it.

    Args:
        error: What was raised.
        cause: What nats-py reported before that.
    """
    if isinstance(error, errors.NoServersError) and cause is not None:
        error = cause
    text = printable(str(error).removeprefix("nats: ").strip("' "))
    match error:
        case ConfigError():  # of the credentials
            return NoConnection(text, is_refused=True)
        case _ if any(word in text.lower() for word in _REFUSALS):
            return NoConnection(text.lower(), is_refused=True)
        case ssl.SSLCertVerificationError(verify_message=message):
            reason = f"TLS failed (certificate verify failed: {message.rstrip('.')})"
        case ssl.SSLError(reason=str(reason)):
            reason = f"TLS failed ({reason.lower().replace('_', ' ')})"
        case socket.gaierror():
            reason = "connection failed (the host name can't be resolved)"
        case TimeoutError() | errors.TimeoutError():
            reason = "no answer in time"
        case OSError(errno=int(number)):
            reason = f"connection failed ({os.strerror(number).lower()})"
        case errors.UnexpectedEOF() | errors.StaleConnectionError():
            reason = "connection lost"
        case errors.Error():
            reason = f"connection failed ({text})"
        case ValueError() | TypeError() | AttributeError() | LookupError():
            reason = "connection failed (what answers is no NATS server)"
        case _:
            reason = f"connection failed ({type(error).__name__})"
    return NoConnection(reason)


def printable(text: str) -> str:
    """
    Make what a server says fit for a line of a log.
    """
    return re.sub(r"[^ -~]", "?", text[:_LONGEST])
