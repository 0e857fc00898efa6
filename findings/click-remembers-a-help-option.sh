#!/usr/bin/env bash
# click 8.5.1: Command.get_help_option keeps the first option that it makes on the command. A tool
# that only looks at the usage of a command, in a bare Context of its own, decides in this way
# which help options that command has for the rest of the process: the names that its group gives
# by `help_option_names` no longer count.
#
# Seen with Python 3.11 and click 8.5.1:
#
#     before: status 0
#     after: status 2, No such option '-h'.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet click==8.5.1
cat >"$work/look.py" <<'PY'
import contextlib
import io

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None: ...


@cli.command()
def send() -> None: ...


def ask() -> str:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli(["send", "-h"])
        except SystemExit as exc:
            status = exc.code
    said = err.getvalue().strip().splitlines()
    return f"status {status}" + (f", {said[-1].removeprefix('Error: ')}" if said else "")


import sys

if "look" in sys.argv:
    send.collect_usage_pieces(click.Context(send))
print(ask())
PY
before=$("$work/venv/bin/python" "$work/look.py")
after=$("$work/venv/bin/python" "$work/look.py" look)
printf 'before: %s\nafter: %s\n' "$before" "$after"
case "$before/$after" in
  'status 0/status 2,'*'No such option'*) ;;
  *) echo 'this has changed' >&2; exit 1 ;;
esac
