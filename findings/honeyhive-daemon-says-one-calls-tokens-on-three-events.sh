#!/usr/bin/env bash
# honeyhive-daemon 0.7.5: the tokens of one model call are on three events of its session. The
# call's answer asked for a tool, so they are in the metadata of the tool's event, of the model
# event that ends the turn, and, as the session's total, of the session itself. Who adds up
# prompt_tokens and completion_tokens over the events of a session counts this call three times;
# only the model events, or only the session, give what was used.
#
# Seen with Python 3.11, honeyhive-daemon 0.7.5 and a transcript with one answer of 30 and 12 tokens:
#
#     tool.Bash (tool): 30 + 12
#     turn.agent (model): 30 + 12
#     session.start (session): 30 + 12
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet honeyhive-daemon==0.7.5
cat >"$work/look.py" <<'PY'
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

HOME = Path("home").absolute()
HOME.mkdir()
os.environ["HH_DAEMON_HOME"] = str(HOME)

from click.testing import CliRunner
from honeyhive_daemon import main as daemon
from honeyhive_daemon.config import DaemonConfig, save_config

events: dict[str, dict] = {}


class Server(BaseHTTPRequestHandler):
    """
    Stores events by id, and adds what an update says to what is there.
    """

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        event = body.get("event", body)
        stored = events.setdefault(event["event_id"], {"metadata": {}})
        metadata = stored["metadata"] | event.get("metadata", {})
        stored.update(event, metadata=metadata)
        answer = json.dumps({"event_id": event["event_id"], "success": True}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_POST

    def log_message(self, *_: object) -> None: ...


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
config = DaemonConfig(api_key="key", base_url=f"http://127.0.0.1:{server.server_port}")
save_config(config)

answer = {
    "id": "msg_1",
    "role": "assistant",
    "model": "some-model",
    "content": [{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}],
    "usage": {"input_tokens": 30, "output_tokens": 12},
}
question = {"role": "user", "content": "How many files?"}
transcript = HOME / "transcript.jsonl"
with transcript.open("w") as lines:
    print(json.dumps({"type": "user", "message": question}), file=lines)
    print(json.dumps({"type": "assistant", "requestId": "r1", "message": answer}), file=lines)

tool = {"tool_name": "Bash", "tool_use_id": "toolu_1", "tool_input": {"command": "ls"}}
for hook in (
    {"hook_event_name": "SessionStart", "source": "startup", "model": "some-model"},
    {"hook_event_name": "UserPromptSubmit", "prompt": "How many files?"},
    {"hook_event_name": "PreToolUse", **tool},
    {"hook_event_name": "PostToolUse", **tool, "tool_response": {"stdout": "a b"}},
    {"hook_event_name": "Stop", "last_assistant_message": "Two."},
    {"hook_event_name": "SessionEnd", "reason": "exit"},
):
    common = {
        "session_id": "0d3ae6f4-8c57-4a6e-9a39-5c4b54d0a111",
        "transcript_path": str(transcript),
        "cwd": str(HOME),
    }
    result = CliRunner().invoke(
        daemon.cli, ["ingest", "claude-hook"], input=json.dumps(common | hook)
    )
    assert result.exit_code == 0, result.output
daemon._push_pending_session_artifacts(config)

named = {e["event_name"]: e for e in events.values() if "prompt_tokens" in e["metadata"]}
for name in ("tool.Bash", "turn.agent", "session.start"):
    event = named.pop(name)
    said = event["metadata"]
    tokens = f"{said['prompt_tokens']:.0f} + {said['completion_tokens']:.0f}"
    print(f"{name} ({event['event_type']}): {tokens}")
assert not named
PY
cd "$work"
seen=$(venv/bin/python look.py)
echo "$seen"
[ "$seen" = 'tool.Bash (tool): 30 + 12
turn.agent (model): 30 + 12
session.start (session): 30 + 12' ]
