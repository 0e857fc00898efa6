"""
`hh-exporter dead-letters`: list, show, send again and delete dead letters.

Only `show` prints the event and the server's answer: both can hold what a user wrote.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import attrs
import click
import orjson
from attrs import frozen

from hh_exporter._cli._draining import (
    Tally,
    deliver,
    dialect_option,
    patience_option,
    url_option,
)
from hh_exporter._cli._errors import CallError
from hh_exporter._cli._report import Report, print_columns, printable
from hh_exporter._cli._spools import Count, Spool, find_directory, tell_count, tell_time
from hh_exporter._clock import SystemClock
from hh_exporter._outcomes import DropReason
from hh_exporter._records import UPDATES, Subject
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Letter, Match
from hh_exporter.events import EVENT_TYPES

__all__ = ["dead_letters_command", "find_letters", "revive"]

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_COLUMNS = ("id", "died", "kind", "why", "bytes", "event_id")

_spool_option = click.option(
    "--spool",
    "directory",
    metavar="DIR",
    help="Directory of the spool; default HH_EXPORTER_SPOOL_DIRECTORY.",
)
_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one line of JSON instead."
)


@click.group("dead-letters")
def dead_letters_command() -> None:
    """
    List, replay and delete rejected and dropped events.

    A dead letter is an event that the server rejected, or that was dropped after
    retries, kept as it would have been sent. Commands exit with 0 on success,
    with 1 if something could not be done, and with 2 for a wrong call.
    """


@dead_letters_command.command("list")
@_spool_option
@_json_option
def list_command(directory: str | None, as_json: bool) -> None:
    """
    List the dead letters of a spool, with the reason for each.
    """
    spool = Spool(find_directory(directory), Report())
    names = spool.names()
    found = spool.look(lambda file: [Row.of(x, names[file.path]) for x in _letters(file)])
    rows = [row for some in found.values() for row in some]
    if as_json:
        click.echo(orjson.dumps([attrs.asdict(row) for row in rows]).decode())
    elif rows:
        print_columns(_COLUMNS, (row.cells() for row in rows))
    else:
        click.echo("no dead letters")
    raise SystemExit(0 if spool.is_complete else 1)


@dead_letters_command.command("show")
@click.argument("letter_id", metavar="ID")
@_spool_option
@_json_option
def show_command(letter_id: str, directory: str | None, as_json: bool) -> None:
    """
    Show a dead letter in full: the event and the server's response.
    """
    spool = Spool(find_directory(directory), Report())
    path, number = spool.find(letter_id)
    letter = spool.look(lambda file: file.letter(number), [path]).get(path)
    if letter is None:
        if spool.is_complete:
            raise CallError(f"there is no dead letter {letter_id!r}")
        raise SystemExit(1)
    row = Row.of(letter, spool.names()[path])
    event = _parse(letter.data)
    if as_json:
        shown = {**attrs.asdict(row), "answer": letter.answer, "event": event}
        click.echo(printable(orjson.dumps(shown).decode()))
        return
    for name, value in row.lines():
        click.echo(f"{name:<9} {printable(value)}")
    if letter.answer:
        speaker = "what is damaged" if letter.reason == DropReason.DAMAGED else "the server said"
        click.echo(f"\n{speaker}:\n{printable(letter.answer)}")
    text = orjson.dumps(event, option=orjson.OPT_INDENT_2).decode()
    what = "update" if row.kind == "update" else "event"
    click.echo(f"\nthe {what}:\n{printable(text)}")


@dead_letters_command.command("purge")
@_spool_option
@click.option("--session", metavar="ID", help="Only events of this session.")
@click.option("--user", help="Only events of this user: the value of one of their user_properties.")
@click.option(
    "--older-than",
    "age",
    metavar="AGE",
    callback=lambda _, __, text: None if text is None else _read_age(text),
    help="Only events pushed longer ago, such as 90s, 30m, 12h or 7d.",
)
@click.option("--unsent", is_flag=True, help="Also delete events that are waiting to be sent.")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
@_json_option
def purge_command(
    directory: str | None,
    session: str | None,
    user: str | None,
    age: float | None,
    unsent: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """
    Delete dead letters: all, or those that match every option.

    Deleted data is overwritten in its file. A file that a running process holds is
    skipped and named. With --unsent, files that were set aside since they are
    damaged are deleted, too, as old as their last change; they can't be searched
    for a session or a user.
    """
    report = Report()
    spool = Spool(find_directory(directory), report)
    before = None if age is None else SystemClock().wall() - age
    match = Match(session_id=session, user=user, before=before)
    found = spool.look(lambda file: Count(*map(len, file.find(match))))
    if not unsent and (waiting := sum(n.records for n in found.values())):
        fit = "fits" if waiting == 1 else "fit"
        report.say(f"{tell_count(waiting, 'record')} not sent yet {fit} too: see --unsent")
    meant = {path: n for path, n in found.items() if n.letters or (unsent and n.records)}
    aside = _find_aside(spool, match, report, unsent=unsent)
    if (meant or aside) and not yes:
        told = _tell(meant.values(), unsent, len(aside))
        click.confirm(f"Permanently delete {told}?", abort=True, err=True)
    done = spool.take(meant, lambda file: Count(*file.purge(match, unsent=unsent)))
    removed = spool.remove_aside(aside)
    if as_json:
        numbers = {
            "dead_letters": sum(n.letters for n in done.values()),
            "records": sum(n.records for n in done.values()),
            "set_aside": removed,
            "held": spool.held,
            "unreadable": spool.unreadable,
        }
        click.echo(orjson.dumps(numbers).decode())
    else:
        click.echo(f"deleted {_tell(done.values(), unsent, removed)}")
    raise SystemExit(0 if spool.is_complete else 1)


@dead_letters_command.command("replay")
@click.argument("letter_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "are_all", is_flag=True, help="Replay all dead letters of the spool.")
@_spool_option
@url_option
@dialect_option
@patience_option
@_json_option
def replay_command(
    letter_ids: tuple[str, ...],
    are_all: bool,
    directory: str | None,
    url: str | None,
    dialect: str | None,
    timeout: float,
    as_json: bool,
) -> None:
    """
    Send dead letters again, and wait for their outcomes.

    They are sent to the address in the files; if the files name several, choose
    with --url or --dialect. The key is taken from HH_API_KEY. Events that wait in
    the same files are sent first. An event that is rejected again becomes a dead
    letter again; one without an outcome waits for the next exporter. Files that a
    running process holds are skipped and named.

    Exits with 0 only if every one was delivered or relayed.
    """
    if are_all == bool(letter_ids):
        raise CallError("give the ids of dead letters, or --all")
    report = Report()
    spool = Spool(find_directory(directory), report)
    with report.logs():
        wanted = find_letters(spool, None if are_all else letter_ids)

        def take(paths: Collection[Path]) -> Tally:
            revived = revive(spool, {path: wanted[path] for path in paths})
            return Tally(revived.total(), revived)

        given = {"base_url": url, "dialect": dialect}
        deliver(spool, wanted, take, report, given=given, timeout=timeout, as_json=as_json)


def find_letters(spool: Spool, ids: Collection[str] | None) -> dict[Path, list[int] | None]:
    """
    Find the files of dead letters, and their numbers there; None where all of a file are meant.

    Args:
        ids: What the command line calls them; None means all.

    Raises:
        CallError: There is no letter of that id, or there may be several.
    """
    if ids is None:
        return {path: None for path, n in spool.look(lambda file: file.letters).items() if n}
    called = {id_: spool.find(id_) for id_ in ids}
    there = spool.look(SpoolFile.letter_ids, {path for path, _ in called.values()})
    wanted: dict[Path, list[int]] = {}
    for id_, (path, number) in called.items():
        if number in there.get(path, ()):
            wanted.setdefault(path, []).append(number)
        elif spool.is_complete:  # else it may be in a file that can't be read
            raise CallError(f"there is no dead letter {id_!r}: see hh-exporter dead-letters list")
    return {path: sorted(set(numbers)) for path, numbers in wanted.items()}


def revive(spool: Spool, wanted: Mapping[Path, Collection[int] | None]) -> Counter[Subject]:
    """
    Make records again of the letters that have these numbers, or of all of a file.

    They wait for the next exporter that takes over their file. Files that a
    live process holds are left as they are, and `spool.held` names them.

    Returns:
        How many there were of each subject.
    """

    def do(file: SpoolFile) -> list[Subject]:
        numbers = wanted[file.path]
        if numbers is None:
            numbers = file.letter_ids()
        letters = [letter for n in numbers if (letter := file.letter(n)) is not None]
        revived = set(file.revive([letter.id for letter in letters]))
        return [Subject.of(letter) for letter in letters if letter.id in revived]

    return Counter(chain(*spool.take(wanted, do).values()))


@frozen(kw_only=True)
class Row:
    """
    What is listed of a dead letter: nothing that a user wrote.
    """

    id: str
    """What the command line calls it."""
    event_id: str
    kind: str
    """"model", "tool", "chain", "session" or "update"; "unknown" if it is damaged."""
    outcome: str
    reason: str
    status: int | None
    pushed_at: float
    died_at: float
    bytes: int

    @classmethod
    def of(cls, letter: Letter, name: str) -> Row:
        return cls(
            id=f"{name}-{letter.id}",
            event_id=letter.event_id,
            kind=_kind_of(letter),
            outcome=letter.outcome,
            reason=letter.reason,
            status=letter.status,
            pushed_at=letter.pushed_at,
            died_at=letter.died_at,
            bytes=len(letter.data),
        )

    @property
    def why(self) -> str:
        """
        Say its outcome, and what decided it.
        """
        status = "" if self.status is None else f"HTTP {self.status}"
        return ", ".join(filter(None, (self.outcome, self.reason, status)))

    def lines(self) -> Iterator[tuple[str, str]]:
        """
        Write it as names and values.
        """
        yield "id", self.id
        yield "event_id", self.event_id
        yield "kind", self.kind
        yield "why", self.why
        yield "pushed", tell_time(self.pushed_at)
        yield "died", tell_time(self.died_at)
        yield "bytes", f"{self.bytes:,}"

    def cells(self) -> tuple[str, ...]:
        """
        Write it under `_COLUMNS`.
        """
        died, size = tell_time(self.died_at), f"{self.bytes:,}"
        return self.id, died, self.kind, self.why, size, self.event_id


def _letters(file: SpoolFile) -> Iterator[Letter]:
    for id_ in file.letter_ids():
        letter = file.letter(id_)
        if letter is not None:  # else its holder has just removed it
            yield letter


def _find_aside(spool: Spool, match: Match, report: Report, *, unsent: bool) -> list[Path]:
    """
    Find the files that were set aside and are meant, or say which may hold what is meant.
    """
    found = spool.find_aside(match.before)
    is_searched = match.session_id is not None or match.user is not None
    if found and (is_searched or not unsent):
        how = "without --session and --user" if is_searched else "see --unsent"
        names = ", ".join(click.format_filename(path.name) for path in found)
        report.say(f"set aside, and may hold some that fit, too: {names}; to delete: {how}")
        return []
    return found


def _tell(counts: Collection[Count], unsent: bool, aside: int) -> str:
    told = [tell_count(sum(n.letters for n in counts), "dead letter")]
    if unsent:
        told.append(tell_count(sum(n.records for n in counts), "unsent record"))
    if aside:
        told.append(f"{tell_count(aside, 'file')} set aside")
    return " and ".join(told)


def _kind_of(letter: Letter) -> str:
    if letter.route == UPDATES:
        return "update"
    event = _parse(letter.data)
    if not isinstance(event, dict):
        return "unknown"
    kind = event.get("event_type", "model")  # which legacy model events don't say
    return kind if type(kind) is str and kind in EVENT_TYPES else "unknown"


def _parse(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return data.decode(errors="replace")


def _read_age(text: str) -> float:
    """
    Read seconds, or a number of another unit.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip(), re.ASCII)
    if found is None:
        raise click.BadParameter(f"{text!r} is no age such as 90s, 30m, 12h or 7d")
    number, unit = found.groups()
    return float(number) * _UNITS[unit]
