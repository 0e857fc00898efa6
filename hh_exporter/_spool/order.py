"""
The order of what an earlier process left: updates behind what they follow.

An update that went to disk at once may be followed there by its event, or by an earlier update,
which left memory after it. Among records of one process, the order of admission shows that; so a
file says which ones were put in order when it was opened before.
"""

from __future__ import annotations

from typing import Final

from attrs import define

from hh_exporter._records import UPDATES
from hh_exporter._spool.marks import Marks

__all__ = ["Order"]

_ORDERED: Final = "in order up to"
"""What in `meta` names the last record that was put in order."""

_FOLLOWED: Final = f"""
    id > :last AND seq > 0 AND event_id IN (
        SELECT event_id FROM records WHERE id > :last AND seq > 0 AND route = '{UPDATES}'
    )
"""
"""What is true of the others that have updates, or are updates."""

_ASTRAY: Final = f"""
    SELECT id FROM records WHERE {_FOLLOWED} AND event_id IN (
        SELECT event_id FROM (
            SELECT event_id, seq < lag(seq) OVER (PARTITION BY event_id ORDER BY id) AS is_late
            FROM records WHERE {_FOLLOWED}
        ) WHERE is_late
    ) ORDER BY seq
"""
"""Lists those of events of which any is late, in order of admission."""


@define(eq=False)
class Order(Marks):
    """
    A database of which the records can be put in order.
    """

    def put_in_order(self) -> None:
        """
        Put updates of an earlier process behind what they follow, at the end of the file.
        """
        before = self.fact(_ORDERED)
        last = max(self.moved.records, before if isinstance(before, int) else 0)
        if self.last_id <= last:
            return
        with self.transaction():
            for (id_,) in self._db.execute(_ASTRAY, {"last": last}).fetchall():
                record = self.record(id_, as_it_is=True)
                if record is not None:
                    self.remove([id_])
                    self.add([record])
            self.set_fact(_ORDERED, self.last_id)
