"""
Credentials as `nsc` writes them, for a server that knows an operator, one account and its user.
"""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]
from attrs import frozen

__all__ = ["Credentials", "make_credentials"]

_NO_LIMITS = dict.fromkeys(
    ("subs", "data", "payload", "imports", "exports", "conn", "leaf", "streams", "consumer"), -1
) | {"mem_storage": -1, "disk_storage": -1, "wildcards": True}


@frozen
class Credentials:
    """
    What a server needs to know, and the file of its user.
    """

    settings: str
    file: Path


def make_credentials(path: Path) -> Credentials:
    """
    Make an operator, an account without limits, and a user of it, whose file is at *path*.
    """
    operator, account, system, user = (
        _make_key(prefix)
        for prefix in (
            nkeys.PREFIX_BYTE_OPERATOR,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_USER,
        )
    )
    accounts = {
        _name(key): _token(key, operator, type="account", limits=limits)
        for key, limits in ((account, _NO_LIMITS), (system, {}))
    }
    token = _token(user, account, type="user", subs=-1, data=-1, payload=-1)
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    settings = (
        f"operator: {_token(operator, operator, type='operator')}\n"
        f"system_account: {_name(system)}\n"
        f"resolver: MEMORY\nresolver_preload: {json.dumps(accounts)}\n"
    )
    return Credentials(settings, path)


def _make_key(prefix: int) -> nkeys.KeyPair:
    return nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), prefix)))


def _name(key: nkeys.KeyPair) -> str:
    return str(key.public_key.decode())


def _token(of: nkeys.KeyPair, by: nkeys.KeyPair, **claims: Any) -> str:
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    body = {"jti": _name(of), "iat": 1_700_000_000, "iss": _name(by), "sub": _name(of)}
    body |= {"name": claims["type"], "nats": claims | {"version": 2}}
    text = f"{_encode(json.dumps(head).encode())}.{_encode(json.dumps(body).encode())}"
    return f"{text}.{_encode(by.sign(text.encode()))}"


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
