#!/usr/bin/env bash
# honeyhive 1.7.0 (PyPI), HoneyHiveTracer: a function under @trace that raises leaves as two spans,
# one under its own name and one more under that name with "_error" behind it, each with the same
# parent. Whoever counts calls or failures by span counts the failing ones twice, and the call's
# own span is not the one that is called an error.
#
# Seen with Python 3.11 and honeyhive 1.7.0, for one call each of a function that works and one
# that raises ValueError:
#
#     failing: 1 span
#     failing_error: 1 span
#     working: 1 span
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet honeyhive==1.7.0
cat >"$work/look.py" <<'PY'
import json
import threading
import uuid
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

spans: Counter[str] = Counter()


class Recorder(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/opentelemetry/v1/traces"):
            for resource in json.loads(body)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    spans.update(span["name"] for span in scope["spans"])
        session = str(uuid.uuid4())
        ids = dict.fromkeys(("org_id", "workspace_id", "project_id"), "local")
        answer = json.dumps(
            {"session_id": session, "event_id": session, "success": True, **ids}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_POST

    def log_message(self, *_: object) -> None: ...


server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
threading.Thread(target=server.serve_forever, daemon=True).start()

from honeyhive import HoneyHiveTracer, trace

tracer = HoneyHiveTracer.init(
    api_key="hh_test_key",
    session_name="s",
    server_url=f"http://127.0.0.1:{server.server_port}",
)


@trace(event_type="tool", event_name="working")
def working() -> int:
    return 1


@trace(event_type="tool", event_name="failing")
def failing() -> None:
    raise ValueError("no")


working()
try:
    failing()
except ValueError:
    pass
tracer.flush()
tracer.shutdown()
for name, count in sorted(spans.items()):
    print(f"{name}: {count} span{'s' * (count > 1)}")
PY
seen=$(env --unset=HTTP_PROXY --unset=HTTPS_PROXY "$work/venv/bin/python" "$work/look.py" 2>/dev/null | grep span)
printf '%s\n' "$seen"
[ "$seen" = $'failing: 1 span\nfailing_error: 1 span\nworking: 1 span' ] ||
  { echo 'this has changed' >&2; exit 1; }
