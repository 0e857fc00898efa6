"""
The package keeps its shape: imports point down, wings show what they offer, time has one source.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

import pytest

import hh_exporter

PACKAGE = Path(hh_exporter.__file__).parent
MAX_LINES = 400

FLOORS: list[set[str]] = [
    {"__main__", "integrations", "testing"},
    {"__init__", "_cli"},
    {"_exporter", "_fleet"},
    {"_copy"},
    {"_assembly"},
    {"_intake", "_life"},
    {"_delivery"},
    {"_environment", "_spool"},
    {"_capture", "_encoding", "_queue", "_transport"},
    {"_dialects", "_door", "_recording", "_sessions", "_settings", "_spans"},
    {"_responses"},
    {"_bell", "_records", "events", "exceptions"},
    {
        *("_clock", "_fake_clock", "_helper", "_log", "_outcomes", "_packing"),
        *("_unique", "_values", "_version"),
    },
    {"_outside"},
]
"""
From top to bottom. A room is a module, or a folder (a wing) with all that is in it; it imports
rooms of lower floors, and none beside it.
"""

COLLECTOR = "_collector"
"""A program beside the exporter: no part of the exporter imports it, and it needs few of them."""
COLLECTOR_USES = {"_clock", "_dialects", "_spans", "_values", "_version", "events", "exceptions"}
COLLECTOR_USERS = {"_cli", "testing"}
COLLECTOR_FLOORS: list[set[str]] = [
    {"__init__"},
    {"server"},
    {"routes"},
    {"clearing", "guard"},
    {"ingest", "query"},
    {"answers", "connections", "page"},
    {"storage"},
]
"""As FLOORS, for the modules and folders of the collector."""

OPEN = {"_cli", "_collector", "integrations"}
"""Folders that are programs or doors of their own: what they offer is not listed."""

LOGGERS = {"_log", "_cli", COLLECTOR}
"""Rooms that may use the standard library's loggers: who makes ours, and programs."""

CLOCKS = {"_clock", "_fake_clock"}
TIME = {"time", "asyncio.sleep", "asyncio.timeout", "asyncio.timeout_at", "asyncio.wait_for"}


def modules(root: Path) -> Iterator[tuple[str, Path, ast.Module]]:
    """
    List the room, path and syntax tree of each module of the package at *root*.
    """
    for path in sorted(root.rglob("*.py")):
        yield path.relative_to(root).parts[0].removesuffix(".py"), path, parse(path.read_text())


@cache
def parse(text: str) -> ast.Module:
    return ast.parse(text)  # copies differ in one module alone


@cache
def names_in(tree: ast.Module, package: str) -> tuple[str, ...]:
    """
    List what is imported, at whatever depth, and attributes of imported modules.
    """
    return tuple(_names_in(tree, package))


def _names_in(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module, names, level):
                origin = resolve_name("." * (level or 0) + (module or ""), package)
                yield from (f"{origin}.{alias.name}" for alias in names)
            case ast.Attribute(ast.Name(owner), name):
                yield f"{owner}.{name}"


def imports_of(path: Path, tree: ast.Module, root: Path) -> Iterator[tuple[str, str]]:
    """
    List what a module imports of the package: the room, and the name within.
    """
    package = ".".join([root.name, *path.relative_to(root).parent.parts])
    for name in names_in(tree, package):
        origin, *rest = name.split(".")
        if origin == root.name:
            is_room = rest and any((root / rest[0]).with_suffix(s).exists() for s in ("", ".py"))
            yield (rest[0], ".".join(rest[1:])) if is_room else ("__init__", ".".join(rest))


def floor_of(room: str) -> int:
    return next(n for n, rooms in enumerate(FLOORS) if room in rooms)


def may_import(room: str, other: str) -> bool:
    if room == other:
        return True
    if room == COLLECTOR:
        return other in COLLECTOR_USES
    if other == COLLECTOR:
        return room in COLLECTOR_USERS
    return floor_of(room) < floor_of(other)


def wrong_imports(root: Path) -> set[tuple[str, str]]:
    return {
        (room, other)
        for room, path, tree in modules(root)
        for other, _ in imports_of(path, tree, root)
        if not may_import(room, other)
    }


def wrong_imports_of_collector(root: Path) -> set[tuple[str, str]]:
    """
    List imports within the collector that point up or aside.
    """
    floors = {part: n for n, parts in enumerate(COLLECTOR_FLOORS) for part in parts}
    home = root / COLLECTOR
    found = {
        (part, other if other in floors else "__init__")
        for part, path, tree in modules(home)
        for room, name in imports_of(path, tree, root)
        if room == COLLECTOR
        for other in [name.partition(".")[0]]
    }
    return {(a, b) for a, b in found if a != b and floors[a] >= floors[b]}


def wings(root: Path) -> list[str]:
    return sorted({path.parent.name for path in root.glob("*/__init__.py")} - OPEN)


def offered_by(root: Path, wing: str) -> list[str]:
    """
    List the names that the docstring of a wing offers to others, as `module.Name`.
    """
    text = ast.get_docstring(parse((root / wing / "__init__.py").read_text())) or ""
    _, _, offer = text.partition("Others use ")
    return re.findall(r"`([\w.]+)`", offer)


def used_of(root: Path, wing: str) -> set[str]:
    """
    List the names of a wing that modules outside import.
    """
    return {
        name
        for room, path, tree in modules(root)
        for other, name in imports_of(path, tree, root)
        if other == wing != room
    }


def uses_of_time(root: Path) -> set[tuple[str, str]]:
    return {
        (room, name)
        for room, _, tree in modules(root)
        for name in names_in(tree, root.name)
        if room not in CLOCKS and (name in TIME or name.startswith("time."))
    }


def uses_of_logging(root: Path) -> set[str]:
    return {
        room
        for room, _, tree in modules(root)
        for name in names_in(tree, root.name)
        if room not in LOGGERS and name.split(".")[0] == "logging"
    }


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACKAGE, tmp_path / PACKAGE.name))


def plant(root: Path, module: str, line: str) -> None:
    with (root / module).open("a") as file:
        file.write(f"\n\ndef planted():\n    {line}\n")


def test_every_room_has_its_floor() -> None:
    """
    A new room says where it stands, and the table names none that is gone.
    """
    rooms = {room for room, _, _ in modules(PACKAGE)}

    assert rooms == set().union(*FLOORS) | {COLLECTOR}
    assert sum(len(floor) for floor in FLOORS) == len(rooms) - 1


def test_imports_point_down() -> None:
    """
    No module imports one of a floor above, nor another room of its own floor.
    """
    assert wrong_imports(PACKAGE) == set()


@pytest.mark.parametrize(
    ("module", "line", "wrong"),
    [
        ("events.py", "from hh_exporter._exporter import Exporter", ("events", "_exporter")),
        ("events.py", "import hh_exporter._exporter", ("events", "_exporter")),
        ("events.py", "from hh_exporter import _exporter", ("events", "_exporter")),
        ("events.py", "from ._exporter import Exporter", ("events", "_exporter")),
        ("events.py", "from . import _exporter", ("events", "_exporter")),
        ("events.py", "from hh_exporter import Exporter", ("events", "__init__")),
        ("events.py", "import hh_exporter", ("events", "__init__")),
        ("_outcomes.py", "from hh_exporter._clock import Clock", ("_outcomes", "_clock")),
        ("_dialects/legacy.py", "from .._intake import Intake", ("_dialects", "_intake")),
        ("_exporter.py", "import hh_exporter._collector.server", ("_exporter", "_collector")),
        (
            "_collector/storage/store.py",
            "import hh_exporter._exporter",
            ("_collector", "_exporter"),
        ),
        ("_collector/storage/store.py", "import hh_exporter._records", ("_collector", "_records")),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_a_planted_import_is_found(
    copy: Path, module: str, line: str, wrong: tuple[str, str]
) -> None:
    """
    Whichever form it has, an import that points up or aside is seen.
    """
    plant(copy, module, line)

    assert wrong_imports(copy) == {wrong}


def test_imports_within_the_collector_point_down() -> None:
    """
    Storage knows nothing of HTTP, and what clients send and what readers ask are apart.
    """
    assert wrong_imports_of_collector(PACKAGE) == set()


@pytest.mark.parametrize(
    ("module", "line", "wrong"),
    [
        ("storage/store.py", "from hh_exporter._collector import answers", ("storage", "answers")),
        ("storage/rows.py", "import hh_exporter._collector.query.news", ("storage", "query")),
        ("ingest/runs.py", "from ..query.reading import Reading", ("ingest", "query")),
        ("guard.py", "from hh_exporter._collector import Collector", ("guard", "__init__")),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_a_planted_import_within_the_collector_is_found(
    copy: Path, module: str, line: str, wrong: tuple[str, str]
) -> None:
    """
    Whichever form it has, an import within the collector that points up or aside is seen.
    """
    plant(copy, f"{COLLECTOR}/{module}", line)

    assert wrong_imports_of_collector(copy) == {wrong}


@pytest.mark.parametrize("wing", wings(PACKAGE))
def test_a_wing_says_what_others_use(wing: str) -> None:
    """
    Others import the names of a wing that its docstring lists, all of these and no more.
    """
    offered = offered_by(PACKAGE, wing)

    assert offered == sorted(used_of(PACKAGE, wing))


@pytest.mark.parametrize("wing", wings(PACKAGE))
def test_a_wings_front_holds_no_code(wing: str) -> None:
    """
    The `__init__` of a wing is a docstring; each file is named in one word, unlike its wing.
    """
    front = parse((PACKAGE / wing / "__init__.py").read_text())
    names = {path.stem for path in (PACKAGE / wing).glob("*.py")} - {"__init__"}

    assert [type(node) for node in front.body] == [ast.Expr]
    assert [name for name in names if not name.isalnum()] == []


def test_a_planted_use_of_what_is_not_offered_is_found(copy: Path) -> None:
    """
    A name of a wing that its docstring does not list can't be imported elsewhere.
    """
    plant(copy, "testing.py", "from hh_exporter._dialects.answers import Form")

    assert used_of(copy, "_dialects") - set(offered_by(copy, "_dialects")) == {"answers.Form"}


def test_time_has_one_source() -> None:
    """
    Only the clocks' own modules read a clock or sleep.
    """
    assert uses_of_time(PACKAGE) == set()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("import time", "time"),
        ("from time import monotonic", "time.monotonic"),
        ("asyncio.sleep(1)", "asyncio.sleep"),
        ("from asyncio import sleep", "asyncio.sleep"),
        ("asyncio.wait_for(None, 1)", "asyncio.wait_for"),
    ],
)
def test_another_source_of_time_is_found(copy: Path, line: str, name: str) -> None:
    """
    Whichever form it has, a look at the clock beside ours is seen.
    """
    plant(copy, "_intake.py", line)

    assert uses_of_time(copy) == {("_intake", name)}


def test_all_log_in_one_way() -> None:
    """
    The standard library's loggers, which let the program's handlers raise, are used in one room.
    """
    assert uses_of_logging(PACKAGE) == set()


@pytest.mark.parametrize("line", ["import logging", "from logging import getLogger"])
def test_another_way_to_log_is_found(copy: Path, line: str) -> None:
    """
    Whichever form it has, a logger beside ours is seen.
    """
    plant(copy, "_intake.py", line)

    assert uses_of_logging(copy) == {"_intake"}


def test_every_module_says_what_it_is() -> None:
    """
    Each one opens with a docstring.
    """
    mute = [path.name for _, path, tree in modules(PACKAGE) if not ast.get_docstring(tree)]

    assert mute == []


def test_no_module_is_long() -> None:
    """
    A file that tells two stories is split before it has 400 lines.
    """
    lines = {str(path): len(path.read_text().splitlines()) for _, path, _ in modules(PACKAGE)}

    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}
