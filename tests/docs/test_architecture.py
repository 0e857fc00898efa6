"""
docs/architecture.md lists the rooms of the package, in their own words.
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


def table() -> str:
    """
    Make the table of rooms, from the top floor down, of the first words of their docstrings.
    """
    rooms = [room for floor in FLOORS for room in sorted(floor)] + [COLLECTOR]
    rows = [f"| `{room}` | {summary_of(room)} |" for room in rooms]
    return "\n".join(["| room | what it owns |", "| --- | --- |", *rows])


def test_the_table_is_the_codes() -> None:
    """
    The table of rooms is what the code says; `python -m tests.docs.test_architecture` makes it.
    """
    assert f"\n\n{table()}\n\n" in PAGE


def test_the_paths_lead_somewhere() -> None:
    """
    Each file that the page names is in the package.
    """
    paths = re.findall(r"`(_\w+/[\w/]*(?:\.py)?|_\w+\.py)`", PAGE)

    assert len(paths) > 5
    assert [path for path in paths if not (PACKAGE / path).exists()] == []


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


if __name__ == "__main__":
    found = re.compile(r"^\| room \|.*?(?=\n\n)", re.MULTILINE | re.DOTALL)
    (DOCS / "architecture.md").write_text(found.sub(lambda _: table(), PAGE))
