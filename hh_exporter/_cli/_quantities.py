"""
Options that are a number with a unit: "30ms", "7d", "20GB", "100/s", "503:5%".

A number never stands alone: nobody has to know which unit was meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

__all__ = ["read_duration", "read_rate", "read_shares", "read_size", "tell_size"]

_NUMBER = r"(\d{1,15}(?:\.\d{1,15})?)"
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(rf"{_NUMBER}({'|'.join(_SECONDS)})", re.ASCII)
_BYTES = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
"""As NATS counts them."""
_SIZE = re.compile(rf"{_NUMBER}({'|'.join(_BYTES)})", re.ASCII)
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


def read_size(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    """
    Make bytes of *text*.
    """
    if text is None:
        return None
    found = _SIZE.fullmatch(text.upper())
    size = 0 if found is None else int(float(found[1]) * _BYTES[found[2]])
    if not 1 <= size < 2**63:
        raise click.BadParameter(f"{text!r} is no size such as 500MB or 20GB.")
    return size


def tell_size(size: int) -> str:
    """
    Write a number of bytes in the largest unit of which there is one.
    """
    unit = next(name for name, one in reversed(_BYTES.items()) if size >= one or one == 1)
    return f"{size:,} B" if unit == "B" else f"{size / _BYTES[unit]:,.1f} {unit}"


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
