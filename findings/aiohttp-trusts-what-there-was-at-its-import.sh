#!/usr/bin/env bash
# aiohttp 3.14.5: the TLS context that verifies certificates by default is made once, while aiohttp
# is imported. A program that sets SSL_CERT_FILE after that, as one does that reads its settings
# from a file, is not heard, though the ssl module and every context that is made later follow it.
#
# Seen with Python 3.11 and aiohttp 3.14.5, against a server whose CA is named by SSL_CERT_FILE:
#
#     set before the import: 200
#     set after the import: ClientConnectorCertificateError
#     set after the import, with a context of one's own: 200
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet aiohttp==3.14.5 trustme==1.2.1
cat >"$work/look.py" <<'PY'
import asyncio
import os
import ssl
import sys

import trustme

ca = trustme.CA()
ca.cert_pem.write_to_path("ca.pem")
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
ca.issue_cert("127.0.0.1").configure_cert(context)

if "before" in sys.argv:
    os.environ["SSL_CERT_FILE"] = "ca.pem"
import aiohttp
from aiohttp import web

os.environ["SSL_CERT_FILE"] = "ca.pem"


async def main() -> str:
    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    own = ssl.create_default_context() if "own" in sys.argv else True
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"https://127.0.0.1:{port}/", ssl=own) as response:
                return str(response.status)
    except aiohttp.ClientError as exc:
        return type(exc).__name__
    finally:
        await runner.cleanup()


print(asyncio.run(main()))
PY
cd "$work"
run() { env --unset=SSL_CERT_FILE --unset=SSL_CERT_DIR venv/bin/python look.py "$@" 2>/dev/null; }
before=$(run before)
after=$(run)
own=$(run own)
printf 'set before the import: %s\nset after the import: %s\n' "$before" "$after"
printf "set after the import, with a context of one's own: %s\n" "$own"
[ "$before/$after/$own" = '200/ClientConnectorCertificateError/200' ] ||
  { echo 'this has changed' >&2; exit 1; }
