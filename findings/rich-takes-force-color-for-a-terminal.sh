#!/usr/bin/env bash
# rich 15.0.0: FORCE_COLOR, which asks for colours where output is not a terminal, makes a Console
# take a pipe for a terminal altogether: is_terminal and is_interactive become true, so a Progress
# on it writes the codes that move a cursor into files and logs of CI, where they can't be undone.
# Passing force_terminal does not help whoever wants colours alone; force_interactive=False does.
#
# Seen with Python 3.11 and rich 15.0.0, standard output being a pipe:
#
#     without: terminal False, interactive False, cursor codes 0
#     FORCE_COLOR=1: terminal True, interactive True, cursor codes more than 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet rich==15.0.0
cat >"$work/look.py" <<'PY'
import io
import os
import sys

from rich.console import Console
from rich.progress import Progress

console = Console(file=sys.stdout)
with Progress(console=console) as progress:
    task = progress.add_task("sending", total=3)
    for _ in range(3):
        progress.advance(task)
print(f"terminal {console.is_terminal}, interactive {console.is_interactive}", file=sys.stderr)
PY
run() {
  env --unset=FORCE_COLOR --unset=NO_COLOR TERM=xterm "$@" "$work/venv/bin/python" \
    "$work/look.py" 2>"$work/said" >"$work/out"
  codes=$(grep -c $'\x1b\\[[0-9]*[A-K]' "$work/out" || true)
  printf '%s, lines with cursor codes %s\n' "$(cat "$work/said")" "$codes"
}
without=$(run)
forced=$(run FORCE_COLOR=1)
printf 'without: %s\nFORCE_COLOR=1: %s\n' "$without" "$forced"
case "$without" in
  'terminal False, interactive False, lines with cursor codes 0') ;;
  *) echo 'this has changed, without FORCE_COLOR' >&2; exit 1 ;;
esac
case "$forced" in
  'terminal True, interactive True, lines with cursor codes 0') echo 'no more codes' >&2; exit 1 ;;
  'terminal True, interactive True, lines with cursor codes '*) ;;
  *) echo 'this has changed, with FORCE_COLOR' >&2; exit 1 ;;
esac
