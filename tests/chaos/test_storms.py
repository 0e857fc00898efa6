"""
Threads, signal handlers and finalisers push while everything else goes wrong.
"""

from __future__ import annotations

import gc
import logging
import signal
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from attrs import define, field

from hh_exporter import Event, Exporter, ModelEvent, Spool
from tests.chaos.story import Story
from tests.crowds import THREADS, Bomb, handled, switching_often, threads
from tests.support import model_event, until
from tests.updates import say

A_STEP = 4
"""How many events each thread pushes in a second of the story."""


@define(eq=False)
class Storm:
    """
    Pushes from everywhere, paced by a story's time.
    """

    story: Story
    main: int = field(factory=threading.get_ident)
    permits: threading.Semaphore = field(init=False, factory=lambda: threading.Semaphore(0))
    is_over: bool = field(init=False, default=False)
    numbers: Iterator[int] = field(init=False, factory=count)

    def push(self, origin: str) -> None:
        if not self.is_over:
            event_id = f"{origin}-{next(self.numbers)}"
            self.story.accounts.note_push(event_id)
            event: ModelEvent | Event = model_event(event_id=event_id, event_name="good")
            if len(self.story.accounts.pushed) % 2:
                event = Event(event_type="tool", event_id=event_id, event_name="good")
            self.story.exporter.push(event)
            number = self.story.accounts.note_update(event_id)
            self.story.exporter.update(event_id, **say(number))

    def run(self, number: int) -> None:
        for i in count():
            self.permits.acquire()
            if self.is_over:
                return
            self.push(f"thread-{number}")
            if i % 5 == 0:
                signal.pthread_kill(self.main, signal.SIGUSR1)
            if i % 5 == 1:
                # In a cycle: found by the collector, whenever and in whichever thread it runs.
                bomb = Bomb(lambda: self.push("finaliser"))
                bomb.__dict__["itself"] = bomb

    def go_on(self) -> None:
        self.permits.release(A_STEP * THREADS)

    def end(self) -> None:
        gc.collect()
        self.is_over = True
        self.permits.release(THREADS)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "hh_exporter")


@pytest.mark.parametrize("durable", [None, True], ids=["in memory", "durable"])
@pytest.mark.parametrize("seed", range(9, 70))
@pytest.mark.soak
@pytest.mark.timeout(0)
async def test_the_truth_is_told_after_a_storm(
    tmp_path: Path, durable: bool | None, seed: int
) -> None:
    """
    What eight threads and their interruptions push has one outcome each, and the right one.
    """
    settings = {} if durable is None else {"spool": Spool(tmp_path / "spool", durable=durable)}
    story = Story(seed=seed, dialect="legacy", make=Exporter, settings=settings)
    storm = Storm(story)
    interrupting = handled(lambda: storm.push("signal"))
    with switching_often(), interrupting, threads(storm.run) as are_running:

        async def join() -> None:
            storm.end()
            await until(lambda: not are_running())

        story.on_step, story.join = storm.go_on, join
        try:
            await story.tell()
        finally:
            storm.end()

    origins = {event_id.partition("-")[0] for event_id in story.accounts.pushed}
    assert origins >= {"thread", "signal", "finaliser"}
