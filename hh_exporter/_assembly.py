"""
Put the parts of an exporter together.

Once for the process that makes it, and again in each that is forked from there:
no part is shared between two processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

from hh_exporter._clock import Clock
from hh_exporter._delivery.settler import Settler
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._encoding.codec import Codec
from hh_exporter._encoding.privacy import Privacy
from hh_exporter._environment import Settings
from hh_exporter._intake import Intake
from hh_exporter._life.endings import see_to_the_end
from hh_exporter._life.lifetime import Lifetime
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._records import MAX_BODY_BYTES
from hh_exporter._sessions import Sessions
from hh_exporter._spool.spooler import Spooler

__all__ = ["assemble", "jitter"]

_random = Random()  # noqa: S311
os.register_at_fork(after_in_child=_random.seed)
jitter = _random.random


def assemble(
    settings: Settings, clock: Clock, random: Callable[[], float]
) -> tuple[Intake, Lifetime]:
    """
    Make the way in, and what sees to the rest of the way.
    """
    wire = DIALECTS[settings.dialect]()
    sessions = Sessions()
    queue = RecordQueue(settings.queue)
    spooler: Spooler | None = None
    if settings.spool is not None and not settings.disabled_reason:
        spooler = Spooler(
            settings=settings.spool,
            identity=settings.identity,
            queue=queue,
            sessions=sessions,
            clock=clock,
        )
    settler = Settler(queue=queue, clock=clock, on_outcome=settings.on_outcome, spooler=spooler)
    intake = Intake(
        queue=queue,
        settler=settler,
        codec=Codec(
            dialect=wire,
            clock=clock,
            project=settings.project,
            source=settings.source,
            max_bytes=min(MAX_BODY_BYTES - wire.overhead, settings.queue.max_bytes),
        ),
        sessions=sessions,
        privacy=Privacy(
            before_send=settings.before_send,
            hide_inputs=settings.hide_inputs,
            hide_outputs=settings.hide_outputs,
        ),
        sample_rate=settings.sample_rate,
        disabled=settings.disabled_reason,
    )
    life = Lifetime(
        settings=settings,
        queue=queue,
        settler=settler,
        dialect=wire,
        sessions=sessions,
        spooler=spooler,
        clock=clock,
        random=random,
    )
    see_to_the_end(life)
    return intake, life
