#!/usr/bin/env bash
# markdown-it-py 4.3.0: MarkdownIt() takes the preset `commonmark`, whose maxNesting is 20, and
# a list and its item count as two. The tenth list within lists comes out with its bullet, but
# without its text: nothing is raised or logged. So does rich.markdown.Markdown (rich 15.0.0),
# which programs use to print what models answer; with the preset `js-default` (maxNesting 100)
# it takes fifty lists.
#
# Seen with Python 3.11, markdown-it-py 4.3.0 and rich 15.0.0:
#
#     9 levels: markdown-it-py shows the last, rich shows the last
#     10 levels: markdown-it-py drops the last, rich drops the last
#     10 levels: markdown-it-py with js-default shows the last
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet markdown-it-py==4.3.0 rich==15.0.0
cat >"$work/nested.py" <<'PY'
from io import StringIO

from markdown_it import MarkdownIt
from rich.console import Console
from rich.markdown import Markdown


def nested(levels: int) -> str:
    return "".join(f"{'  ' * level}- level {level + 1}\n" for level in range(levels))


def verdict(levels: int, shown: str) -> str:
    return f"{'shows' if f'level {levels}' in shown else 'drops'} the last"


for levels in (9, 10):
    paper = StringIO()
    Console(file=paper, width=200).print(Markdown(nested(levels)))
    html = MarkdownIt().render(nested(levels))
    print(
        f"{levels} levels: markdown-it-py {verdict(levels, html)}, "
        f"rich {verdict(levels, paper.getvalue())}"
    )
html = MarkdownIt("js-default").render(nested(10))
print(f"10 levels: markdown-it-py with js-default {verdict(10, html)}")
PY
seen=$("$work/venv/bin/python" "$work/nested.py")
printf '%s\n' "$seen"
expected='9 levels: markdown-it-py shows the last, rich shows the last
10 levels: markdown-it-py drops the last, rich drops the last
10 levels: markdown-it-py with js-default shows the last'
[ "$seen" = "$expected" ] || { echo 'this has changed' >&2; exit 1; }
