"""
The house keeps its shape: imports point down, time has one source, files stay short.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

import pytest

import hh_exporter

PACKAGE = Path(hh_exporter.__file__).parent
MAX_LINES = 400

LAYERS = {
    "doors": {"__init__", "__main__", "_cli", "integrations", "testing"},
    "builders": {
        "_assembly",
        "_books",
        "_endings",
        "_environment",
        "_exporter",
        "_forks",
        "_lifetime",
        "_recording",
        "_signals",
    },
    "movers": {
        "_delivery",
        "_intake",
        "_parts",
        "_probing",
        "_recovery",
        "_settler",
        "_shipping",
        "_spooler",
        "_waits",
        "_worker",
    },
    "parts": {
        "_backlog",
        "_batcher",
        "_bell",
        "_breaker",
        "_budget",
        "_codec",
        "_compression",
        "_disk",
        "_dialects",
        "_ledger",
        "_privacy",
        "_proxies",
        "_queue",
        "_retry",
        "_scalars",
        "_sessions",
        "_spool",
        "_spool_file",
        "_spool_place",
        "_spool_room",
        "_spool_rows",
        "_spool_schema",
        "_spool_tables",
        "_spool_work",
        "_spool_writer",
        "_transport",
    },
    "words": {
        "_addresses",
        "_clock",
        "_dialect",
        "_fake_clock",
        "_legalize",
        "_outcomes",
        "_records",
        "_settings",
        "_spooled",
        "_text",
        "_times",
        "_version",
        "events",
        "exceptions",
    },
}
"""From top to bottom; a unit is a module, or a folder with all that is in it."""

SIDEWAYS = {
    "__main__": {"_cli"},
    "integrations": {"__init__"},
    "testing": {"__init__"},
    "_exporter": {"_assembly", "_environment", "_forks", "_lifetime", "_recording", "_signals"},
    "_assembly": {"_endings", "_environment", "_lifetime"},
    "_signals": {"_endings", "_forks", "_lifetime"},
    "_forks": {"_endings"},
    "_endings": {"_lifetime"},
    "_lifetime": {"_books", "_environment"},
    "_worker": {"_delivery", "_parts", "_probing", "_recovery", "_shipping", "_waits"},
    "_recovery": {"_probing", "_spooler"},
    "_settler": {"_spooler"},
    "_waits": {"_shipping"},
    "_intake": {"_settler"},
    "_delivery": {"_parts", "_settler", "_shipping"},
    "_parts": {"_shipping"},
    "_queue": {"_backlog", "_budget", "_ledger"},
    "_budget": {"_ledger"},
    "_batcher": {"_sessions"},
    "_disk": {"_spool_file", "_spool_place", "_spool_schema"},
    "_spool_rows": {"_sessions"},
    "_spool_work": {"_disk"},
    "_spool_writer": {"_disk", "_queue", "_spool", "_spool_room", "_spool_rows", "_spool_work"},
    "_spool_file": {"_spool_place", "_spool_schema", "_spool_tables"},
    "_spool_schema": {"_spool_place"},
    "_codec": {"_scalars"},
    "_privacy": {"_scalars"},
    "_transport": {"_proxies"},
}
"""What a unit may import of its own layer; words may import each other."""

COLLECTOR = "_collector"
"""A program beside the exporter: it uses these, and is used by these."""
COLLECTOR_USES = LAYERS["words"] | {"_codec", "_dialects"}
COLLECTOR_USERS = {"_cli", "testing"}

CLOCKS = {"_clock", "_fake_clock"}
TIME = {"time", "asyncio.sleep", "asyncio.timeout", "asyncio.timeout_at", "asyncio.wait_for"}


def modules(root: Path) -> Iterator[tuple[str, Path, ast.Module]]:
    """
    List the unit, path and syntax tree of each module of the package at *root*.
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


def units_in(path: Path, tree: ast.Module, root: Path) -> Iterator[str]:
    """
    List the units of the package that a module imports.
    """
    package = ".".join([root.name, *path.relative_to(root).parent.parts])
    for name in names_in(tree, package):
        origin, *rest = name.split(".")
        if origin == root.name:
            is_unit = rest and any((root / rest[0]).with_suffix(s).exists() for s in ("", ".py"))
            yield rest[0] if is_unit else "__init__"


def layer_of(unit: str) -> int:
    return next(n for n, units in enumerate(LAYERS.values()) if unit in units)


def may_import(unit: str, other: str) -> bool:
    if unit == other:
        return True
    if unit == COLLECTOR:
        return other in COLLECTOR_USES
    if other == COLLECTOR:
        return unit in COLLECTOR_USERS
    points_down = layer_of(unit) < layer_of(other)
    return points_down or {unit, other} <= LAYERS["words"] or other in SIDEWAYS.get(unit, ())


def wrong_imports(root: Path) -> set[tuple[str, str]]:
    return {
        (unit, other)
        for unit, path, tree in modules(root)
        for other in units_in(path, tree, root)
        if not may_import(unit, other)
    }


def uses_of_time(root: Path) -> set[tuple[str, str]]:
    return {
        (unit, name)
        for unit, _, tree in modules(root)
        for name in names_in(tree, root.name)
        if unit not in CLOCKS and (name in TIME or name.startswith("time."))
    }


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACKAGE, tmp_path / PACKAGE.name))


def plant(root: Path, module: str, line: str) -> None:
    with (root / module).open("a") as file:
        file.write(f"\n\ndef planted():\n    {line}\n")


def test_every_unit_has_its_place() -> None:
    """
    A new module says where it stands, and the table names none that is gone.
    """
    units = {unit for unit, _, _ in modules(PACKAGE)}

    assert units == set().union(*LAYERS.values()) | {COLLECTOR}
    assert sum(len(layer) for layer in LAYERS.values()) == len(units) - 1


def test_imports_point_down() -> None:
    """
    No module imports one of a layer above, nor an unlisted one of its own.
    """
    assert wrong_imports(PACKAGE) == set()


def test_no_sideways_import_is_allowed_for_nothing() -> None:
    """
    Each exception of the table is one that the code needs.
    """
    used = {
        (unit, o) for unit, path, tree in modules(PACKAGE) for o in units_in(path, tree, PACKAGE)
    }

    assert {(unit, other) for unit, others in SIDEWAYS.items() for other in others} <= used


@pytest.mark.parametrize(
    ("module", "line", "wrong"),
    [
        ("_queue.py", "from hh_exporter._worker import Worker", ("_queue", "_worker")),
        ("_queue.py", "import hh_exporter._worker", ("_queue", "_worker")),
        ("_queue.py", "from hh_exporter import _worker", ("_queue", "_worker")),
        ("_queue.py", "from ._worker import Worker", ("_queue", "_worker")),
        ("_queue.py", "from . import _worker", ("_queue", "_worker")),
        ("_queue.py", "from hh_exporter import Exporter", ("_queue", "__init__")),
        ("_queue.py", "import hh_exporter", ("_queue", "__init__")),
        ("_queue.py", "from hh_exporter._batcher import Batcher", ("_queue", "_batcher")),
        ("_ledger.py", "from hh_exporter._queue import RecordQueue", ("_ledger", "_queue")),
        ("events.py", "from hh_exporter._codec import Codec", ("events", "_codec")),
        ("_dialects/legacy.py", "from hh_exporter._codec import Codec", ("_dialects", "_codec")),
        ("_dialects/legacy.py", "from .._queue import RecordQueue", ("_dialects", "_queue")),
        ("_exporter.py", "import hh_exporter._collector.server", ("_exporter", "_collector")),
        ("_collector/store.py", "import hh_exporter._exporter", ("_collector", "_exporter")),
        ("_collector/store.py", "import hh_exporter._queue", ("_collector", "_queue")),
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
    plant(copy, "_worker.py", line)

    assert uses_of_time(copy) == {("_worker", name)}


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
    lines = {path.name: len(path.read_text().splitlines()) for _, path, _ in modules(PACKAGE)}

    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}
