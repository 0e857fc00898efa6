"""
docs/architecture.md lists the modules that there are, in their own words.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import hh_exporter
from tests.test_architecture import COLLECTOR, FLOORS

PACKAGE = Path(hh_exporter.__file__).parent
DOCS = PACKAGE.parent / "docs"
PAGE = (DOCS / "architecture.md").read_text()


def summary_of(unit: str) -> str:
    """
    Read the first paragraph of what a module, or a folder of them, says of itself.
    """
    folder = PACKAGE / unit
    source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(source.read_text())) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def test_the_table_is_the_codes() -> None:
    """
    Each room stands there, from the top floor down, with the first words of its docstring.
    """
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE)

    rooms = [room for floor in FLOORS for room in sorted(floor)] + [COLLECTOR]
    assert rows == [(room, summary_of(room)) for room in rooms]


def test_the_picture_can_be_read_in_light_and_dark() -> None:
    """
    Each colour that it draws with is named, and has a value in both schemes.
    """
    picture = (DOCS / "architecture.svg").read_text()
    light, dark = re.findall(r"svg \{(.*?)\}", picture)
    values = [dict(re.findall(r"--(\w+): (#\w+);", scheme)) for scheme in (light, dark)]

    assert "(architecture.svg)" in PAGE
    assert values[0].keys() == values[1].keys() == set(re.findall(r"var\(--(\w+)\)", picture))
    assert not values[0].items() & values[1].items()
    assert len(re.findall(r"#[0-9a-f]{6}", picture)) == 2 * len(values[0])
