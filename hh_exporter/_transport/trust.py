"""
Which certificate authorities the environment names.

aiohttp reads OpenSSL's variables when it is imported. A program may set them later, such as from
a `.env` file, and its other clients obey them then; so does an exporter that is created later.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping

__all__ = ["find_trust"]


def find_trust(environ: Mapping[str, str]) -> ssl.SSLContext | None:
    """
    Load the authorities that SSL_CERT_FILE and SSL_CERT_DIR name.

    Returns:
        None if neither is set: aiohttp's own context is enough, and loading the system's
        authorities again would take about 40 ms.
    """
    if not (environ.get("SSL_CERT_FILE") or environ.get("SSL_CERT_DIR")):
        return None
    context = ssl.create_default_context()
    context.set_alpn_protocols(("http/1.1",))  # as in aiohttp's
    return context
