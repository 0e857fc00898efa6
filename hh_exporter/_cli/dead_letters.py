"""
`hh-exporter dead-letters`: list, show, send again and delete dead letters.

Only `show` prints the event and the server's answer: both can hold what a user wrote.
"""

from __future__ import annotations

import click

from hh_exporter._cli._archived import Fleet
from hh_exporter._cli._draining import dialect_option, patience_option, url_option
from hh_exporter._cli._errors import CallError
from hh_exporter._cli._letters import read_age
from hh_exporter._cli._places import place_options
from hh_exporter._cli._report import Report
from hh_exporter._cli._spooled import list_letters, purge, replay, show_letter
from hh_exporter._cli._spools import Spool
from hh_exporter._clock import SystemClock
from hh_exporter._outcomes import DropReason
from hh_exporter._spool.kept import Match

__all__ = ["dead_letters_command"]

_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one line of JSON instead."
)
_REJECTED = "rejected"
_reason_option = click.option(
    "--reason",
    type=click.Choice((_REJECTED, *(reason.value for reason in DropReason))),
    metavar="REASON",
    callback=lambda _, __, text: "" if text == _REJECTED else text,
    help="Only those that were dropped for this reason, such as retries_exhausted, or rejected.",
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
@place_options
@_reason_option
@_json_option
def list_command(place: Spool | Fleet, report: Report, reason: str | None, as_json: bool) -> None:
    """
    List dead letters, with the reason for each.
    """
    if isinstance(place, Fleet):
        place.list_letters(Match(reason=reason), as_json=as_json)
        return
    list_letters(place, Match(reason=reason), as_json=as_json)
    raise SystemExit(0 if place.is_complete else 1)


@dead_letters_command.command("show")
@click.argument("letter_id", metavar="ID")
@place_options
@_json_option
def show_command(letter_id: str, place: Spool | Fleet, report: Report, as_json: bool) -> None:
    """
    Show a dead letter in full: the event and the server's response.
    """
    if isinstance(place, Fleet):
        place.show_letter(letter_id, as_json=as_json)
    else:
        show_letter(place, letter_id, as_json=as_json)


@dead_letters_command.command("purge")
@place_options
@click.option("--session", metavar="ID", help="Only events of this session.")
@click.option("--user", help="Only events of this user: the value of one of their user_properties.")
@click.option(
    "--older-than",
    "age",
    metavar="AGE",
    callback=lambda _, __, text: None if text is None else read_age(text),
    help="Only events pushed longer ago, such as 90s, 30m, 12h or 7d.",
)
@_reason_option
@click.option("--unsent", is_flag=True, help="Also delete events that are waiting to be sent.")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
@_json_option
def purge_command(
    place: Spool | Fleet,
    report: Report,
    session: str | None,
    user: str | None,
    age: float | None,
    reason: str | None,
    unsent: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """
    Delete dead letters: all, or those that match every option.

    Of a spool: deleted data is overwritten in its file. A file that a running
    process holds is skipped and named. With --unsent, files that were set aside
    since they are damaged are deleted, too, as old as their last change; they can't
    be searched for a session or a user.

    Of a fleet: with --session or --user deleted data is overwritten, which takes
    longer. Letters that come meanwhile stay.
    """
    before = None if age is None else SystemClock().wall() - age
    match = Match(session_id=session, user=user, before=before, reason=reason)
    if isinstance(place, Fleet):
        if unsent:
            raise CallError("--unsent is for spools: what waits in a stream, relays deliver")
        raise SystemExit(0 if place.purge(match, report, yes=yes, as_json=as_json) else 1)
    purge(place, match, report, unsent=unsent, yes=yes, as_json=as_json)
    raise SystemExit(0 if place.is_complete else 1)


@dead_letters_command.command("replay")
@click.argument("letter_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "are_all", is_flag=True, help="Replay all dead letters.")
@_reason_option
@place_options
@url_option
@dialect_option
@patience_option
@_json_option
def replay_command(
    letter_ids: tuple[str, ...],
    are_all: bool,
    reason: str | None,
    place: Spool | Fleet,
    report: Report,
    url: str | None,
    dialect: str | None,
    timeout: float,
    as_json: bool,
) -> None:
    """
    Send dead letters again.

    Of a spool, they are sent to the address in the files; if the files name several, choose
    with --url or --dialect. The key is taken from HH_API_KEY. Events that wait in
    the same files are sent first. An event that is rejected again becomes a dead
    letter again; one without an outcome waits for the next exporter. Files that a
    running process holds are skipped and named.

    Of a fleet, they are published for relays to deliver, and deleted once the stream
    has them.

    Exits with 0 only if every one was delivered or relayed.
    """
    if (are_all or reason is not None) == bool(letter_ids):
        raise CallError("give the ids of dead letters, --reason or --all")
    match = Match(reason=reason)
    given = {"base_url": url, "dialect": dialect}
    if isinstance(place, Fleet):
        if url or dialect:
            raise CallError("--url and --dialect are for spools: relays know where events go")
        ids = letter_ids or None
        raise SystemExit(0 if place.replay(ids, match, report, as_json=as_json) else 1)
    replay(place, letter_ids or None, match, report, given=given, timeout=timeout, as_json=as_json)
