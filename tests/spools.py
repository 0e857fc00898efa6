"""
Spools as dead processes leave them: files that nobody holds, of a name that a test knows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hh_exporter._codec import Codec
from hh_exporter._dialects import DIALECTS
from hh_exporter._spool_file import SpoolFile
from hh_exporter._spooled import Identity, Letter, SpooledRecord
from tests.builders import make_codec, make_letter
from tests.support import model_event

__all__ = ["KEY", "contents", "files_in", "leave", "letter_of", "spooled"]

KEY = "hh_canary_key_3f1c"


def leave(
    path: Path,
    base_url: str,
    *,
    records: Sequence[str] = (),
    letters: Sequence[str] = (),
    dialect: str = "legacy",
    api_key: str | None = KEY,
) -> None:
    """
    Make a file of events that are called so: some wait to be sent, some are dead.
    """
    identity = Identity(base_url=base_url, dialect=dialect, api_key=api_key)
    file = SpoolFile.create(path.parent, identity)
    with file.transaction():
        file.add([spooled(event_id, dialect) for event_id in records])
        file.bury([letter_of(event_id, dialect) for event_id in letters])
    file.close(remove_empty=False)
    file.path.rename(path)
    Path(f"{file.path}.lock").unlink()


def spooled(event_id: str, dialect: str = "legacy") -> SpooledRecord:
    return SpooledRecord(
        event_id=event_id, data=_encode(event_id, dialect), pushed_at=time.time() - 60.0
    )


def letter_of(event_id: str, dialect: str = "legacy") -> Letter:
    """
    Make a dead letter that is older than any spool keeps one.
    """
    return make_letter(event_id, _encode(event_id, dialect), pushed_at=1_750_000_000.0)


def contents(directory: Path) -> tuple[list[str], list[str]]:
    """
    List the events in all files that wait, and those that are dead, whoever holds them.
    """
    records: list[str] = []
    letters: list[str] = []
    for path in sorted(directory.glob("*.spool")):
        file = SpoolFile.peek(path)
        if file is not None:
            records += [r.event_id for i in file.ids() if (r := file.record(i)) is not None]
            letters += [x.event_id for i in file.letter_ids() if (x := file.letter(i)) is not None]
            file.close()
    return sorted(records), sorted(letters)


def files_in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def _encode(event_id: str, dialect: str) -> bytes:
    return _codec(dialect).encode(model_event(), event_id).data


@cache
def _codec(dialect: str) -> Codec:
    return make_codec(dialect=DIALECTS[dialect]())
