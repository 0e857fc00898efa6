"""
Hooks of a coding session, told to PyPI honeyhive-daemon 0.x; run by test_tracers.py.

The daemon's own loop, without the seconds that it waits. Prints as JSON the id
of the session and the daemon's log.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from click.testing import CliRunner
from honeyhive_daemon import main as daemon
from honeyhive_daemon.config import DaemonConfig, get_log_path, save_config

SESSION = "0d3ae6f4-8c57-4a6e-9a39-5c4b54d0a111"
TOOL = {"tool_name": "Bash", "tool_use_id": "toolu_1", "tool_input": {"command": "ls parcels"}}
HOOKS = (
    {"hook_event_name": "SessionStart", "source": "startup", "model": "claude-fable-5"},
    {"hook_event_name": "UserPromptSubmit", "prompt": "Where is my parcel?"},
    {"hook_event_name": "PreToolUse", **TOOL},
    {"hook_event_name": "PostToolUse", **TOOL, "tool_response": {"stdout": "7\n"}},
    {"hook_event_name": "Stop", "last_assistant_message": "In Bern."},
    {"hook_event_name": "SessionEnd", "reason": "exit"},
)
TRANSCRIPT = (
    {"type": "user", "message": {"role": "user", "content": "Where is my parcel?"}},
    {
        "type": "assistant",
        "requestId": "req_1",
        "message": {
            "id": "msg_1",
            "role": "assistant",
            "model": "claude-fable-5",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}],
            "usage": {"input_tokens": 30, "output_tokens": 12},
        },
    },
)


def main(url: str, home: str) -> None:
    os.environ["HH_DAEMON_HOME"] = home
    transcript = Path(home) / "transcript.jsonl"
    config = DaemonConfig(api_key="hh_test_key", base_url=url)
    save_config(config)
    transcript.write_text("".join(f"{json.dumps(line)}\n" for line in TRANSCRIPT))
    common = {"session_id": SESSION, "transcript_path": str(transcript), "cwd": home}
    for hook in HOOKS:
        told = json.dumps({**common, **hook})
        result = CliRunner().invoke(daemon.cli, ["ingest", "claude-hook"], input=told)
        assert result.exit_code == 0, result.output
    daemon._flush_spool(config)
    daemon._flush_expired_tool_events(config)
    daemon._push_pending_session_artifacts(config)
    print(json.dumps({"session_id": SESSION, "log": get_log_path().read_text()}))


main(*sys.argv[1:])
