#!/usr/bin/env bash
# honeyhive 1.7.0 (PyPI), HoneyHiveTracer: with warnings turned into errors, as many test suites
# have them (python -W error), a DeprecationWarning of the client's own ends the start of its
# session. init() does not raise: it goes on under a random session id that the server was never
# told of, so every span of the run hangs below a session that does not exist.
#
# Seen with Python 3.11 and honeyhive 1.7.0:
#
#     default: 1 session started, the tracer has its id
#     -W error: 0 sessions started, the tracer has an id of its own
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet honeyhive==1.7.0
cat >"$work/look.py" <<'PY'
import json
import sys
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SESSION = "0d3ae6f4-8c57-4a6e-9a39-5c4b54d0a111"
started = 0


class Recorder(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        global started
        self.rfile.read(int(self.headers["Content-Length"]))
        started += "session" in self.path and not self.path.endswith("traces")
        ids = dict.fromkeys(("org_id", "workspace_id", "project_id"), "local")
        answer = json.dumps(
            {"session_id": SESSION, "event_id": SESSION, "success": True, **ids}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None: ...


server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
threading.Thread(target=server.serve_forever, daemon=True).start()

from honeyhive import HoneyHiveTracer  # imported in peace: it is the start that matters

if "strict" in sys.argv:
    warnings.simplefilter("error")
tracer = HoneyHiveTracer.init(
    api_key="hh_test_key",
    session_name="s",
    server_url=f"http://127.0.0.1:{server.server_port}",
)
whose = "its id" if tracer.session_id == SESSION else "an id of its own"
print(f"{started} session{'s' * (started != 1)} started, the tracer has {whose}")
PY
run() { env --unset=HTTP_PROXY --unset=HTTPS_PROXY "$work/venv/bin/python" "$work/look.py" "$@" 2>/dev/null | tail -n 1; }
default=$(run)
strict=$(run strict)
printf 'default: %s\n-W error: %s\n' "$default" "$strict"
[ "$default" = '1 session started, the tracer has its id' ] &&
  [ "$strict" = '0 sessions started, the tracer has an id of its own' ] ||
  { echo 'this has changed' >&2; exit 1; }
