"""
The one error of the command line.
"""

from __future__ import annotations

import click

__all__ = ["CallError"]


class CallError(click.ClickException):
    """
    The command can't work as it was called: one line on stderr, and status 2.
    """

    exit_code = 2
