#!/usr/bin/env bash
# Sphinx 9.0.4 with sphinx.ext.napoleon: in the docstring below an attribute, what stands before
# the first colon of its first line is taken for the attribute's type, though the attribute has an
# annotation and the text is an ordinary sentence. It happens inside of literals, too: a JSON
# object in backquotes is cut in two, and the page no longer parses.
#
# Seen with Python 3.11 and Sphinx 9.0.4, without a build warning for the first class:
#
#     health: str
#        ok or closed.
#        Type:
#           One word
#
# and for the second: WARNING: Inline interpreted text or phrase reference start-string without
# end-string.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet sphinx==9.0.4
mkdir "$work/docs"
cat >"$work/docs/sample.py" <<'PY'
class Plain:
    health: str
    """One word: ok or closed."""


class Literal:
    answer: str
    """Sent as `{"content": 1}`."""
PY
cat >"$work/docs/conf.py" <<'PY'
import sys

sys.path.insert(0, ".")
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
PY
cat >"$work/docs/index.rst" <<'RST'
.. autoclass:: sample.Plain
   :members:

.. autoclass:: sample.Literal
   :members:
RST
cd "$work/docs"
"$work/venv/bin/sphinx-build" -q -b text . "$work/out" 2>"$work/warnings" || true
cat "$work/out/index.txt" "$work/warnings"

fail() { printf 'this has changed: %s\n' "$1" >&2; exit 1; }
tr -s ' \n' ' ' <"$work/out/index.txt" | grep -q 'ok or closed. Type: One word' ||
  fail 'the words before the colon are no type any more'
grep -q 'start-string without end-string' "$work/warnings" ||
  fail 'a colon within a literal is left alone'
