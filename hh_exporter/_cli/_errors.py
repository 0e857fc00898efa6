"""
The errors of the command line: one line on stderr each, and a status.
"""

from __future__ import annotations

import click

__all__ = ["CallError", "UndoneError"]


class CallError(click.ClickException):
    """
    The command can't work as it was called: status 2.
    """

    exit_code = 2


class UndoneError(click.ClickException):
    """
    The command was right, and what it asks for can't be done: status 1.
    """

    exit_code = 1
