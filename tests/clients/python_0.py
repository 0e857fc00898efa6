"""
What was recorded of PyPI honeyhive 0.x, said again by that client; run by test_official_clients.py.

Prints for each case, as JSON, what the client made of the answer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from honeyhive import HoneyHive


def main(url: str, golden: str) -> None:
    client = HoneyHive(bearer_auth="hh_test_key", server_url=url)
    calls = {
        "/events/model": client.events.create_model_event,
        "/events/model/batch": client.events.create_model_event_batch,
        "/session/start": client.session.start_session,
    }
    seen: dict[str, Any] = {}
    for path in sorted(Path(golden).glob("python-0.x.*.json")):
        recorded = json.loads(path.read_text())
        response = calls[recorded["path"]](request=recorded["body"])
        seen[path.stem] = response.object.model_dump()
    print(json.dumps(seen))


main(*sys.argv[1:])
