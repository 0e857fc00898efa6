"""
`hh-exporter spool`: list what waits in a spool, send it, or hand it over to another key.

Listing changes nothing, and shows files that running processes hold, too.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NoReturn

import attrs
import click
import orjson
from attrs import frozen

from hh_exporter._cli._adopting import hand_over
from hh_exporter._cli._draining import (
    Tally,
    deliver,
    dialect_option,
    patience_option,
    url_option,
)
from hh_exporter._cli._errors import CallError
from hh_exporter._cli._report import Report, print_columns, printable
from hh_exporter._cli._spools import Spool, find_directory, tell_count, tell_time
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.notes import peek
from hh_exporter._spool.place import is_held

__all__ = ["Row", "spool_command"]

_COLUMNS = ("file", "records", "dead letters", "bytes", "oldest", "held", "dialect", "address")


@click.command("spool")
@click.argument("directory", metavar="[DIR]", required=False)
@click.option("--drain", is_flag=True, help="Deliver the events instead.")
@click.option("--adopt", is_flag=True, help="Hand files of other keys over to this one instead.")
@url_option
@dialect_option
@patience_option
@click.option("--yes", is_flag=True, help="Don't ask for confirmation, with --adopt.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead.")
def spool_command(
    directory: str | None,
    drain: bool,
    adopt: bool,
    url: str | None,
    dialect: str | None,
    timeout: float,
    yes: bool,
    as_json: bool,
) -> None:
    """
    Show, deliver or hand over the spool DIR; default HH_EXPORTER_SPOOL_DIRECTORY.

    Lists each file with its events that wait to be sent, its dead letters, their
    size in bytes, when the oldest event was pushed, and whether a running process
    holds it. A file that no process holds is taken over by the next exporter with
    the same address, dialect and key. Also lists what processes lost as they ended,
    until the next one to start logs it.

    With --drain, delivers the events and reports the outcome of each; events
    without an outcome stay in the spool. They are sent to the address in the
    files; if the files name several, choose with --url or --dialect. The key is
    taken from HH_API_KEY. The address of events that wait for a stream is
    jetstream: and its subject; they go to the servers that
    HH_EXPORTER_JETSTREAM_SERVERS names.

    With --adopt, files that were written with another key are handed over to the
    key in HH_API_KEY, after a rotation: exporters with that key send their events
    from then on. Only files of the address in --url or HH_API_URL, else
    HoneyHive's own, and of the dialect in --dialect or HH_EXPORTER_DIALECT, else
    legacy, are handed over; others are named.

    Exits with 0 if all files could be read and all events were delivered,
    relayed or handed over, with 1 if not, and with 2 for a wrong call.
    """
    report = Report()
    spool = Spool(find_directory(directory), report)
    if drain and adopt:
        raise CallError("--drain and --adopt exclude each other: adopt first, then drain")
    given = {"base_url": url, "dialect": dialect}
    if adopt:
        hand_over(spool, given, yes=yes, as_json=as_json)
    if not drain:
        if url or dialect:
            raise CallError("--url and --dialect need --drain or --adopt")
        _show(spool, as_json=as_json)

    def take(paths: Collection[Path]) -> Tally:
        return Tally(sum(spool.take(paths, lambda file: file.count).values()))

    with report.logs():
        found = spool.look(lambda file: file.count)
        waiting = [path for path, count in found.items() if count]
        deliver(spool, waiting, take, report, given=given, timeout=timeout, as_json=as_json)


def _show(spool: Spool, *, as_json: bool) -> NoReturn:
    names = spool.names()
    found = spool.look(Row.of)
    rows = list(found.values())
    aside = [path.name for path in spool.find_aside(None)]
    notes = peek(spool.directory)
    records = sum(row.records for row in rows)
    letters = sum(row.dead_letters for row in rows)
    size = sum(row.bytes for row in rows)
    if as_json:
        files = [attrs.asdict(row) for row in rows]
        lost = [attrs.asdict(note) for note in notes]
        others = {"unreadable": spool.unreadable, "set_aside": aside, "lost": lost}
        totals = {"records": records, "dead_letters": letters, "bytes": size}
        click.echo(orjson.dumps({**totals, "files": files, **others}).decode())
    else:
        if rows:
            print_columns(_COLUMNS, (row.cells(names[path]) for path, row in found.items()))
            click.echo()
        click.echo(
            f"{tell_count(len(rows), 'file')}, {tell_count(records, 'record')}, "
            f"{tell_count(letters, 'dead letter')}, {tell_count(size, 'byte')}"
        )
        for note in notes:
            number = tell_count(note.events, "event")
            click.echo(
                f"lost at the end of a process at {tell_time(note.at)}: {number} "
                f"({printable(note.why)})"
            )
        for name in aside:
            click.echo(f"set aside, since it can't be read: {printable(name)}")
    raise SystemExit(0 if spool.is_complete else 1)


@frozen(kw_only=True)
class Row:
    """
    What is listed of one file.
    """

    file: str
    records: int
    dead_letters: int
    bytes: int
    oldest_pushed_at: float | None
    held: bool
    dialect: str
    base_url: str

    @classmethod
    def of(cls, file: SpoolFile) -> Row:
        return cls(
            file=file.path.name,
            records=file.count,
            dead_letters=file.letters,
            bytes=file.size,
            oldest_pushed_at=file.oldest_pushed_at(),
            held=is_held(file.path),
            dialect=file.dialect,
            base_url=file.base_url,
        )

    def cells(self, name: str) -> tuple[str, ...]:
        """
        Write it under `_COLUMNS`.
        """
        oldest = self.oldest_pushed_at
        return (
            name,
            f"{self.records:,}",
            f"{self.dead_letters:,}",
            f"{self.bytes:,}",
            "" if oldest is None else tell_time(oldest),
            "yes" if self.held else "no",
            self.dialect,
            self.base_url,
        )
