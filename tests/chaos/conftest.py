"""
Fixtures of the chaos suite.
"""

from __future__ import annotations

import ssl

import pytest
from trustme import CA

from hh_exporter._spool import packer
from tests.chaos.proxy import Certificates


@pytest.fixture(autouse=True)
def _packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Have spools pack from the first event on.
    """
    monkeypatch.setattr(packer, "_BACKLOG", 0)


@pytest.fixture(scope="session")
def ca() -> CA:
    """
    The authority that exporters of this suite trust.
    """
    return CA()


@pytest.fixture(scope="session")
def trusted(ca: CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


@pytest.fixture(scope="session")
def certificates(ca: CA) -> Certificates:
    return Certificates(_serving(ca), _serving(CA()))


def _serving(ca: CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    return context
