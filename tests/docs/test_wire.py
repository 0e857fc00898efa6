"""
docs/wire.md shows a request as it goes over the wire.
"""

from __future__ import annotations

import json
import re
from email import message_from_string
from pathlib import Path
from typing import Any

from tests.conftest import MakeExporter
from tests.scripted_server import ScriptedServer

PAGE = (Path(__file__).parents[2] / "docs/wire.md").read_text()
[EXAMPLE] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
[REQUEST] = re.findall(r"```http\n(.*?)```", PAGE, re.DOTALL)
BY_AIOHTTP = {"host", "content-length", "accept-encoding"}


async def test_the_request_is_the_one_that_is_sent(
    server: ScriptedServer, make_exporter: MakeExporter
) -> None:
    """
    Its route, each header that is ours, and its body are those of the page.
    """
    namespace: dict[str, Any] = {}
    exec(EXAMPLE, namespace)
    exporter = await make_exporter()
    namespace["ask"](exporter)
    await exporter.flush()

    [sent] = server.requests
    line, rest = REQUEST.split("\n", 1)
    head, body = rest.split("\n\n", 1)
    shown = message_from_string(head)
    assert line == f"POST {sent.path} HTTP/1.1"
    assert json.loads(sent.body) == json.loads(body)
    assert sent.headers.keys() - BY_AIOHTTP == {name.lower() for name in shown}
    for name, value in shown.items():
        assert re.fullmatch(re.escape(value).replace("…", ".+"), sent.headers[name.lower()])
