"""
Dead letters of a fleet, as commands list, show, replay and purge them.

The stream is read some letters at a time, and each row is printed as it comes, so memory stays
flat. What is deleted is what was counted before, and nothing that came since.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import click
import orjson
from attrs import define, frozen

from hh_exporter._cli._errors import CallError
from hh_exporter._cli._letters import COLUMNS, Row, show
from hh_exporter._cli._report import Report, print_table, printable
from hh_exporter._cli._spools import tell_count
from hh_exporter._cli._stream import connected
from hh_exporter._clock import SystemClock
from hh_exporter._fleet.plan import Names
from hh_exporter._settings.jetstream import JetStream
from hh_exporter._spool.kept import Match

if TYPE_CHECKING:
    from hh_exporter._fleet.archive import Archive, Replayed, Stored

__all__ = ["Fleet"]

_WIDTHS = (8, 23, 7, 36, 9)
"""Of the columns but the last: rows are printed before all are known."""


@frozen
class Fleet:
    """
    Where the stream of dead letters is.
    """

    access: JetStream
    names: Names

    def list_letters(self, match: Match, *, as_json: bool) -> None:
        """
        Print a row of each letter that *match* means.
        """
        asyncio.run(self._list(match, as_json=as_json))

    def show_letter(self, letter_id: str, *, as_json: bool) -> None:
        """
        Print one letter in full.

        Raises:
            CallError: There is none of that id.
        """
        asyncio.run(self._show(letter_id, as_json=as_json))

    def replay(
        self, ids: Collection[str] | None, match: Match, report: Report, *, as_json: bool
    ) -> bool:
        """
        Publish the events of letters again, or of all that *match* means, and delete these.

        Returns:
            Whether that is all done.

        Raises:
            CallError: There is no letter of that id.
        """
        return asyncio.run(self._replay(ids, match, report, as_json=as_json))

    def purge(self, match: Match, report: Report, *, yes: bool, as_json: bool) -> bool:
        """
        Delete the letters that *match* means.

        Returns:
            Whether all of them are gone.
        """
        return asyncio.run(self._purge(match, report, yes=yes, as_json=as_json))

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Archive]:
        from hh_exporter._fleet.archive import Archive  # needs nats-py

        async with connected(self.access, "operator", SystemClock()) as connection:
            yield await Archive.open(connection, self.names)

    async def _list(self, match: Match, *, as_json: bool) -> None:
        count = 0
        async with self._opened() as archive:
            async for letters in archive.read():
                rows = [_row(one) for one in letters if _fits(one, match)]
                if not rows:
                    continue
                if as_json:
                    text = ",".join(orjson.dumps(attrs.asdict(row)).decode() for row in rows)
                    click.echo(f"{',' if count else '['}{text}", nl=False)
                else:
                    lines = [row.cells() for row in rows]
                    told = map(_line, lines if count else [COLUMNS, *lines])
                    click.echo("\n".join(told))
                count += len(rows)
        if as_json:
            click.echo("]" if count else "[]")
        elif not count:
            click.echo("no dead letters")

    async def _show(self, letter_id: str, *, as_json: bool) -> None:
        async with self._opened() as archive:
            (found,) = await _find(archive, (letter_id,))
        more = {"dialect": found.letter.dialect, "relay": found.letter.relay}
        show(_row(found), found.letter, more, as_json=as_json)

    async def _replay(
        self, ids: Collection[str] | None, match: Match, report: Report, *, as_json: bool
    ) -> bool:
        tally = _Tally()
        async with self._opened() as archive:
            if ids is not None:
                tally.note(await archive.replay(await _find(archive, ids)))
            else:
                with report.progress("dead letters"):
                    async for letters in archive.read():
                        meant = [one for one in letters if _fits(one, match)]
                        tally.note(meant if tally.is_stuck else await archive.replay(meant))
                        report.show(tally.relayed, None)
        left, total = tally.left, tally.relayed + tally.left
        if tally.problem:
            report.say(f"warning: {printable(tally.problem)}")
        numbers = {"relayed": tally.relayed, "left": left, "undeleted": tally.undeleted}
        if as_json:
            click.echo(orjson.dumps({"dead_letters": total, **numbers}).decode())
        else:
            print_table(
                [
                    ("dead letters", f"{total:,}", ""),
                    ("relayed", f"{tally.relayed:,}", "published again, for relays to deliver"),
                    ("left", f"{left:,}", "dead letters still" if left else ""),
                ]
            )
            if tally.undeleted:
                report.say(
                    f"warning: {tell_count(tally.undeleted, 'letter')} of relayed events could not "
                    "be deleted: purge them, since a replay would send those events again"
                )
        return not (left or tally.undeleted)

    async def _purge(self, match: Match, report: Report, *, yes: bool, as_json: bool) -> bool:
        is_all = match == Match()
        async with self._opened() as archive:
            meant: list[int] = []
            if not is_all:
                async for letters in archive.read():
                    meant += [one.letter.sequence for one in letters if _fits(one, match)]
        count = archive.count if is_all else len(meant)
        if count and not yes:
            told = tell_count(count, "dead letter")
            # Not while connected: a person may take longer than the server's patience.
            click.confirm(f"Permanently delete {told}?", abort=True, err=True)
        deleted, why = 0, ""
        if count:
            async with self._opened() as now:
                if is_all:
                    deleted = await attrs.evolve(now, last=archive.last).delete_all()
                else:
                    overwrites = match.session_id is not None or match.user is not None
                    gone, why = await now.delete(meant, overwrites=overwrites)
                    deleted = len(gone)
        if why:
            report.say(f"warning: {tell_count(count - deleted, 'letter')} left: {printable(why)}")
        if as_json:
            click.echo(orjson.dumps({"dead_letters": deleted}).decode())
        else:
            click.echo(f"deleted {tell_count(deleted, 'dead letter')}")
        return not why


@define
class _Tally:
    """
    What became of letters so far.
    """

    relayed: int = 0
    left: int = 0
    undeleted: int = 0
    problem: str = ""
    is_stuck: bool = False

    def note(self, replayed: Replayed | Sequence[Stored]) -> None:
        """
        Add what became of some, or some that were left where they are.
        """
        if isinstance(replayed, Sequence):
            self.left += len(replayed)
            return
        self.left += len(replayed.left)
        self.relayed += len(replayed.sent)
        self.undeleted += len(replayed.undeleted)
        self.problem = replayed.problem or self.problem
        self.is_stuck = replayed.is_stuck


async def _find(archive: Archive, ids: Collection[str]) -> list[Stored]:
    """
    Find letters by what the command line calls them.

    Raises:
        CallError: There is none of that id.
    """
    found = {}
    for id_ in ids:
        one = await archive.find(int(id_)) if re.fullmatch(r"[0-9]{1,18}", id_) else None
        if one is None:
            raise CallError(
                f"there is no dead letter {id_!r}: see hh-exporter dead-letters list --jetstream …"
            )
        found[one.letter.sequence] = one
    return list(found.values())


def _row(stored: Stored) -> Row:
    return Row.of(stored.letter, str(stored.letter.sequence))


def _fits(stored: Stored, match: Match) -> bool:
    letter = stored.letter
    return match.fits(letter.pushed_at, letter.data, letter.session, reason=letter.reason)


def _line(cells: tuple[str, ...]) -> str:
    *first, last = cells
    padded = [cell.ljust(width) for cell, width in zip(first, _WIDTHS, strict=True)]
    return printable("  ".join([*padded, last])).rstrip()
