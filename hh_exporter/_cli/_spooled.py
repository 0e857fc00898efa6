"""
Dead letters of a spool, as commands list, revive and delete them.

A file that a running process holds is named, and left as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NoReturn

import attrs
import click
import orjson

from hh_exporter._cli._draining import Tally, deliver
from hh_exporter._cli._errors import CallError
from hh_exporter._cli._letters import COLUMNS, Row, show
from hh_exporter._cli._report import Report, print_columns
from hh_exporter._cli._spools import Count, Spool, tell_count
from hh_exporter._records import Subject
from hh_exporter._spool.file import SpoolFile
from hh_exporter._spool.kept import Letter, Match

__all__ = ["find_letters", "list_letters", "purge", "replay", "revive", "show_letter"]


def list_letters(spool: Spool, match: Match, *, as_json: bool) -> None:
    """
    Print a row of each letter that *match* means.
    """
    names = spool.names()
    found = spool.look(
        lambda file: [Row.of(x, f"{names[file.path]}-{x.id}") for x in _letters(file, match)]
    )
    rows = [row for some in found.values() for row in some]
    if as_json:
        click.echo(orjson.dumps([attrs.asdict(row) for row in rows]).decode())
    elif rows:
        print_columns(COLUMNS, (row.cells() for row in rows))
    else:
        click.echo("no dead letters")


def show_letter(spool: Spool, letter_id: str, *, as_json: bool) -> None:
    """
    Print one letter in full.

    Raises:
        CallError: There is none of that id, or there may be several.
    """
    path, number = spool.find(letter_id)
    letter = spool.look(lambda file: file.letter(number), [path]).get(path)
    if letter is not None:
        show(Row.of(letter, f"{spool.names()[path]}-{letter.id}"), letter, as_json=as_json)
    elif spool.is_complete:
        raise CallError(f"there is no dead letter {letter_id!r}")
    else:
        raise SystemExit(1)


def replay(
    spool: Spool,
    ids: Collection[str] | None,
    match: Match,
    report: Report,
    *,
    given: Mapping[str, str | None],
    timeout: float,
    as_json: bool,
) -> NoReturn:
    """
    Send letters again, or all that *match* means, and wait for their outcomes.
    """
    with report.logs():
        wanted = find_letters(spool, ids, match)

        def take(paths: Collection[Path]) -> Tally:
            revived = revive(spool, {path: wanted[path] for path in paths})
            return Tally(revived.total(), revived)

        deliver(spool, wanted, take, report, given=given, timeout=timeout, as_json=as_json)


def find_letters(
    spool: Spool, ids: Collection[str] | None, match: Match
) -> dict[Path, list[int] | None]:
    """
    Find the files of dead letters, and their numbers there; None where all of a file are meant.

    Args:
        ids: What the command line calls them; None means all that *match* means.

    Raises:
        CallError: There is no letter of that id, or there may be several.
    """
    if ids is None and match != Match():
        found = spool.look(lambda file: file.find(match)[1])
        return {path: numbers for path, numbers in found.items() if numbers}
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


def purge(
    spool: Spool, match: Match, report: Report, *, unsent: bool, yes: bool, as_json: bool
) -> None:
    """
    Delete what *match* means, and with *unsent* also records and files that were set aside.
    """
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


def _letters(file: SpoolFile, match: Match) -> Iterator[Letter]:
    for id_ in file.letter_ids() if match == Match() else file.find(match)[1]:
        letter = file.letter(id_)
        if letter is not None:  # else its holder has just removed it
            yield letter


def _find_aside(spool: Spool, match: Match, report: Report, *, unsent: bool) -> list[Path]:
    """
    Find the files that were set aside and are meant, or say which may hold what is meant.
    """
    found = spool.find_aside(match.before)
    is_searched = match != Match(before=match.before)
    if found and (is_searched or not unsent):
        how = "without --session, --user and --reason" if is_searched else "see --unsent"
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
