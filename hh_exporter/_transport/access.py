"""
What a stream asks of this machine: nats-py, and a file of credentials where one is named.

Both are looked at before nats-py is: it is an extra, imported only where a stream is asked for,
and it never returns from a file that holds no token.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from hh_exporter._settings.jetstream import JetStream
from hh_exporter.exceptions import ConfigError

__all__ = ["check_access", "read_credentials"]

_HINT = "which the extra 'jetstream' of hh_exporter installs"
_PARTS = ("BEGIN NATS USER JWT", "BEGIN USER NKEY SEED")


def check_access(access: JetStream) -> None:
    """
    Check that what *access* needs is installed, and that its credentials can be read.

    Raises:
        ConfigError: It is not, or they can't.
    """
    if not _has("nats.aio.client"):
        raise ConfigError(f"jetstream needs nats-py, {_HINT}")
    if access.credentials is None:
        return
    if not _has("nkeys"):
        raise ConfigError(f"credentials need nkeys, {_HINT}")
    read_credentials(access.credentials)


def read_credentials(path: Path) -> str:
    """
    Read the file of credentials at *path*.

    Raises:
        ConfigError: It can't be read, or holds something else.
    """
    try:
        text = path.read_text("ascii")
    except OSError as exc:
        why = os.strerror(exc.errno or 0).lower()
        raise ConfigError(f"credentials can't be read: {path} ({why})") from None
    except UnicodeDecodeError:
        text = ""
    if not all(part in text for part in _PARTS):
        del text
        raise ConfigError(f"credentials must be a file with a user's token and key, not {path}")
    return text


def _has(module: str) -> bool:
    try:
        import_module(module)
    except ModuleNotFoundError:
        return False
    return True
