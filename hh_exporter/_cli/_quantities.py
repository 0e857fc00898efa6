"""
Options that are a number with a unit: "30ms", "7d", "100/s", "503:5%".

A number never stands alone: nobody has to know which unit was meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

__all__ = ["read_duration", "read_rate", "read_shares"]

_NUMBER = r"(\d{1,15}(?:\.\d{1,15})?)"
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(rf"{_NUMBER}({'|'.join(_SECONDS)})", re.ASCII)
_RATE = re.compile(rf"{_NUMBER}/s", re.ASCII)
_SHARE = re.compile(rf"([0-9a-z]+):{_NUMBER}%", re.ASCII)


def read_duration(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """
    Make seconds of *text*, the value of an option.
    """
    if text is None:
        return None
    if (found := _DURATION.fullmatch(text)) is None:
        raise click.BadParameter(f"{text!r} is no time such as 30ms, 2s, 5m, 12h or 7d.")
    return float(found[1]) * _SECONDS[found[2]]


def read_rate(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """
    Make a number per second of *text*.
    """
    if text is None:
        return None
    if (found := _RATE.fullmatch(text)) is None or not float(found[1]):
        raise click.BadParameter(f"{text!r} is no rate such as 100/s.")
    return float(found[1])


def read_shares(_: click.Context, __: click.Parameter, texts: Iterable[str]) -> dict[str, float]:
    """
    Make fractions by kind of *texts*, the values of a repeated option.
    """
    shares: dict[str, float] = {}
    for text in texts:
        if (found := _SHARE.fullmatch(text)) is None:
            raise click.BadParameter(f"{text!r} is no share such as 503:5%.")
        kind = found[1]
        if kind in shares:
            raise click.BadParameter(f"{kind} is given twice.")
        shares[kind] = float(found[2]) / 100
    return shares
