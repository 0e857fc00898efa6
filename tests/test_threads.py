"""
Events come from every thread, from signal handlers and finalisers, and none is lost.
"""

from __future__ import annotations

import asyncio
import collections
import dis
import selectors
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from functools import cache, partial
from itertools import count
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Literal, TypeVarTuple

import pytest

import hh_exporter
from hh_exporter import (
    BatchLimits,
    DropReason,
    Exporter,
    FlushResult,
    Outcome,
    QueueLimits,
    Settlement,
    Spool,
)
from hh_exporter._life.books import read_books
from hh_exporter._life.endings import forget_all, see_to_the_end
from hh_exporter._life.signals import _Handler
from hh_exporter._queue.queue import RecordQueue
from hh_exporter._queue.watches import Watch
from hh_exporter._records import Loss, Record, Session
from tests.builders import make_record
from tests.conftest import KEY, MakeExporter
from tests.crowds import THREADS, Bomb, handled, switching_often, threads
from tests.scripted_server import ScriptedServer, hang
from tests.spools import in_memory, on_disk
from tests.support import PATIENCE, FakeClock, assert_balanced, model_event, until

Ts = TypeVarTuple("Ts")

EACH = 250

STRIDE = 31
"""Every how many places under the lock an interruption comes; each has its turn."""

LOCKED_FILES = {
    collections.__file__,  # what a Counter has no count of, it asks a method for
    *(
        str(Path(hh_exporter.__file__).parent / name)
        for name in (
            *("_queue/queue.py", "_queue/outgoing.py", "_queue/ledger.py", "_queue/unsettled.py"),
            *("_queue/watches.py", "_queue/overflow.py", "_queue/budget.py"),
            *("_queue/packing.py", "_queue/holders.py", "_records.py", "_life/books.py"),
        )
    ),
}
"""Where code runs under the one lock."""

SPOOL_FILES = {
    threading.__file__,
    *(
        str(Path(hh_exporter.__file__).parent / "_spool" / name)
        for name in ("spooler.py", "writer.py", "work.py", "room.py")
    ),
}
"""Where work is handed over to the spool's thread."""


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    """
    Have threads take turns as often as they can, so that races show.
    """
    with switching_often():
        yield


def push_many(exporter: Exporter, number: int, n: int = EACH) -> None:
    for i in range(n):
        assert exporter.push(model_event(event_id=f"{number}-{i}"))


def all_ids() -> Counter[str]:
    return Counter(f"{number}-{i}" for number in range(THREADS) for i in range(EACH))


async def test_pushes_of_many_threads_arrive_while_the_loop_works(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    What eight threads push while batches leave is delivered, each event once.
    """
    with threads(lambda number: push_many(exporter, number)) as are_running:
        await until(lambda: not are_running())
    result = await exporter.flush()

    assert Counter(server.created_ids) == all_ids()
    assert not result.left
    assert assert_balanced(exporter).delivered == THREADS * EACH


async def test_pushes_of_many_threads_arrive_while_the_loop_is_blocked(
    exporter: Exporter, server: ScriptedServer
) -> None:
    """
    What eight threads push waits for no loop, and leaves once it turns again.
    """
    with threads(lambda number: push_many(exporter, number)):
        pass  # joined here, on the loop's thread
    assert assert_balanced(exporter).queued == THREADS * EACH
    result = await exporter.flush()

    assert result == FlushResult(THREADS * EACH, 0, 0, 0)
    assert Counter(server.created_ids) == all_ids()


async def test_the_apps_own_calls_hold_nothing_up(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    With all threads of the loop's pool busy names are looked up, and bodies compressed.
    """
    exporter = await make_exporter(
        base_url=server.url.replace("127.0.0.1", "localhost"), compression="gzip"
    )
    are_over = threading.Event()
    loop = asyncio.get_running_loop()
    calls = [loop.run_in_executor(None, are_over.wait, PATIENCE) for _ in range(64)]

    exporter.push(model_event(event_id="e0", messages=[{"role": "user", "content": "x" * 2**15}]))
    result = await exporter.flush()

    are_over.set()
    await asyncio.gather(*calls)
    assert result.delivered == 1
    assert server.created_ids == ["e0"]
    assert server.requests[0].headers["content-encoding"] == "gzip"


async def test_an_event_of_another_thread_wakes_the_loop(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    A loop that sleeps is woken by a push, without a flush or another event.
    """
    exporter = await make_exporter(batch=BatchLimits(linger=0.0))
    with threads(lambda _: exporter.push(model_event()), 1):
        request = await server.next_request()

    assert len(request.events) == 1


async def test_puts_of_several_loops_share_one_worker(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    In other loops put waits for room, flush for outcomes and create for its answer.
    """
    exporter = await make_exporter(
        queue=QueueLimits(max_events=10, overflow="drop_newest"),
        batch=BatchLimits(max_events=5, linger=0.0),
    )

    async def put_many(number: int) -> None:
        for i in range(EACH):
            assert await exporter.put(model_event(event_id=f"{number}-{i}"))
        await exporter.flush()
        assert {f"{number}-{i}" for i in range(EACH)} <= set(server.created_ids)
        made = await exporter.create_model_event(model_event(event_id=f"{number}-alone"))
        assert made == f"{number}-alone"

    with threads(lambda number: asyncio.run(put_many(number))) as are_running:
        await until(lambda: not are_running())

    alone = Counter(f"{number}-alone" for number in range(THREADS))
    assert Counter(server.created_ids) == all_ids() + alone
    assert not assert_balanced(exporter).dropped


async def test_the_books_balance_for_a_reader_in_another_thread(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    Stats read at any moment, while events come, overflow and leave, balance.
    """
    exporter = await make_exporter(
        queue=QueueLimits(max_events=50), batch=BatchLimits(max_events=10, linger=0.0)
    )
    is_over = threading.Event()
    has_looked = threading.Event()
    seen = set()

    def read() -> None:
        while not is_over.is_set():
            stats = assert_balanced(exporter)
            assert 0 <= stats.queued + stats.in_flight <= 50
            seen.add((stats.pushed, stats.delivered, stats.dropped))
            has_looked.set()

    def push(number: int) -> None:
        for i in range(EACH):
            exporter.push(model_event(event_id=f"{number}-{i}"))
            if i % (EACH // 4) == 0:  # else a busy machine may let the reader look too late
                has_looked.clear()
                assert has_looked.wait(PATIENCE)

    with threads(lambda _: read(), 1):
        try:
            with threads(push, 2) as are_running:
                await until(lambda: not are_running())
            await exporter.flush()
        finally:
            is_over.set()

    stats = exporter.stats()
    assert stats.delivered == len(server.created)
    assert stats.delivered + stats.dropped == 2 * EACH
    assert len(seen) > 2


async def test_an_outcome_may_push(make_exporter: MakeExporter, server: ScriptedServer) -> None:
    """
    on_outcome may push, even when it is told of a loss in the middle of a push.
    """
    told: list[Outcome] = []
    budget = 20

    def push_again(settlement: Settlement) -> None:
        nonlocal budget
        told.extend([settlement.outcome] * len(settlement.event_ids))
        if budget:
            budget -= 1
            exporter.push(model_event())

    exporter = await make_exporter(
        queue=QueueLimits(max_events=5), batch=BatchLimits(linger=0.0), on_outcome=push_again
    )
    for _ in range(6):
        exporter.push(model_event())
    assert told == [Outcome.DROPPED] * 21

    budget = 20
    await until(lambda: exporter.stats().delivered == 25)
    assert told[21:] == [Outcome.DELIVERED] * 25
    assert len(server.created) == 25


CALLS = ("CALL", "RESUME", "JUMP_BACKWARD", "BEFORE_WITH")
"""What the interpreter runs handlers behind; all between two of those is one step for them."""


@contextmanager
def interrupted(
    places: Iterable[int], interrupt: Callable[[], object], files: Container[str] = LOCKED_FILES
) -> Iterator[Callable[[], bool]]:
    """
    Call *interrupt* at each of *places*, ascending numbers of those met in *files*.

    A place is where the interpreter runs handlers. Yields what tells whether all were met.
    """
    remaining = iter(places)
    met, at = 0, next(remaining)
    last = dict[FrameType, str]()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal met, at
        if frame.f_code.co_filename not in files:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            before = last.get(frame, "RESUME")
            last[frame] = operations_of(frame.f_code)[frame.f_lasti]
            if before.startswith(CALLS):
                met += 1
                if met == at:
                    at = next(remaining, 0)
                    interrupt()
        elif event == "return":
            last.pop(frame, None)
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # else 3.12 has none for the first frame
    sys.settrace(trace)
    try:
        yield lambda: not at
    finally:
        sys.settrace(before)


@cache
def operations_of(code: CodeType) -> dict[int, str]:
    return {instruction.offset: instruction.opname for instruction in dis.get_instructions(code)}


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
@pytest.mark.parametrize("means", ["signal", "finaliser"])
async def test_a_push_may_interrupt_whoever_holds_the_lock(
    means: str, overflow: Literal["drop_oldest", "drop_newest"]
) -> None:
    """
    A signal handler or finaliser may push wherever one can run under the lock.

    Each event has one outcome, and the server has what was delivered.
    """
    for first in range(1, STRIDE + 1):
        pushed: list[str] = []
        outcomes: list[tuple[str, Outcome]] = []
        async with asyncio.timeout(10.0), ScriptedServer() as server:
            exporter = Exporter(
                KEY,
                base_url=server.url,
                queue=QueueLimits(max_events=4, overflow=overflow),
                on_outcome=partial(note_outcome, outcomes),
            )
            push = partial(push_another, exporter, pushed)
            bomb = partial(Bomb, push)
            interrupt = partial(signal.raise_signal, signal.SIGUSR1) if means == "signal" else bomb
            with handled(push), interrupted(count(first, STRIDE), interrupt):
                for _ in range(6):
                    push()
                waiting = asyncio.create_task(exporter.put(model_event(event_id="put")))
                await asyncio.sleep(0)
                await exporter.flush()
                await waiting
                await exporter.aclose()

        assert len(pushed) > 10, "nothing was interrupted"
        assert Counter(event_id for event_id, _ in outcomes) == Counter([*pushed, "put"]), first
        delivered = [event_id for event_id, outcome in outcomes if outcome is Outcome.DELIVERED]
        assert sorted(server.created_ids) == sorted(delivered), first
        assert_balanced(exporter)


@pytest.fixture
def alone() -> Iterator[None]:
    """
    Have signals end no exporter that another test has left open.
    """
    others = forget_all()
    yield
    for life in others:
        see_to_the_end(life)


def save(exporter: Exporter, *_: object) -> None:
    assert not exporter._queue.lock._is_owned()  # type: ignore[attr-defined]
    exporter._life.save_all()


def is_closed(exporter: Exporter) -> bool:
    return exporter._queue.closed


@pytest.fixture
def directory() -> Iterator[Path]:
    with in_memory() as directory:
        yield directory


@pytest.mark.usefixtures("alone")
async def test_a_signal_may_end_a_program_while_a_spool_is_given_work(
    directory: Path, server: ScriptedServer
) -> None:
    """
    Wherever the second one comes, the last commit is made, and nobody waits for a lock.
    """
    server.default = hang()
    for at in count(1):
        spool = Spool(directory / f"{at}", durable=True)
        exporter = Exporter(KEY, base_url=server.url, spool=spool, close_timeout=600.0)
        await exporter.start()
        spooler = exporter._life.spooler
        assert spooler is not None
        exporter.push(model_event())

        handler = _Handler(partial(save, exporter))
        again = partial(signal.raise_signal, signal.SIGUSR1)
        with handled(partial(handler, signal.SIGUSR1, None)):
            again()
            with interrupted((at,), again, SPOOL_FILES) as is_interrupted:
                exporter.push(model_event())
                spooler.load(1, 1)
            if not is_interrupted():
                again()
            await until(partial(is_closed, exporter))
        await exporter.aclose(0.0)
        assert len(on_disk(directory / f"{at}")) == 2
        if not is_interrupted():
            break
    assert at > 20, "nothing was interrupted"


class Interrupted:
    """
    A queue in the middle of things: each new record is of a session that none there has.
    """

    def __init__(self, overflow: Literal["drop_oldest", "drop_newest"]) -> None:
        limits = QueueLimits(max_events=6, max_bytes=160, overflow=overflow)
        self.queue = RecordQueue(limits)
        self.watch: Watch | None = None
        self.outcomes = 0
        self.session = Session("first", b"," * 10)
        self.flying = [self.make(), self.make()]
        self.pulled = [self.make()]
        for record in (*self.flying, *self.pulled):
            self.queue.offer(record)
        self.queue.take(self.queue.pull(2))
        self.queue.pull(1)
        self.session = Session("second", b"," * 30)

    def make(self) -> Record:
        return make_record(size=20, session=self.session)

    def pack(self) -> None:
        """
        Pack all that waits, two records in a block.
        """
        packing = self.queue.packing
        packing.start_at(0, block=40)
        while job := packing.next():
            job.run()
            self.queue.overflow.alone(packing.commit, job)
        packing.start_at(0, block=20)

    def push(self) -> None:
        loss = self.queue.offer(self.make())  # first: an interruption counts too
        self.outcomes += 0 if loss is None else len(loss.records)

    def check(self) -> None:
        """
        See that the books say what is there, and that nothing is left of it in the end.
        """
        queue, ledger = self.queue, self.queue.ledger
        assert sum(ledger.dropped.values()) == self.outcomes
        assert ledger.in_flight_bytes == 20 * ledger.in_flight
        sessions = {r.session for r in (*ledger.waiting, *self.pulled, *self.flying)}
        assert ledger.session_bytes == sum(len(session.data) for session in sessions if session)
        queue.settle(self.flying, Outcome.DELIVERED)  # what is packed may wait for their room
        records = pull_all(queue)
        assert ledger.waiting_bytes == ledger.packed == ledger.packed_bytes == 0
        assert len(records) + len(self.pulled) == ledger.queued
        assert ledger.queued_bytes == 20 * ledger.queued
        queue.take([*records, *self.pulled])
        queue.settle([*records, *self.pulled], Outcome.DELIVERED)
        assert ledger.delivered + ledger.rejected + sum(ledger.dropped.values()) == ledger.pushed
        assert ledger.queued == ledger.in_flight == queue._budget.events == 0
        assert ledger.session_bytes == queue._budget.bytes == 0
        assert self.watch is None or self.watch.left == 0


def pull_all(queue: RecordQueue) -> list[Record]:
    """
    Pull all that waits, though no more than a block is unpacked at once.
    """
    pulled = list[Record]()
    while records := queue.pull(100):
        pulled += records
    return pulled


def settle_some(state: Interrupted) -> None:
    flown, state.flying = state.flying, []
    state.queue.settle(flown, Outcome.REJECTED)


def watch(state: Interrupted) -> None:
    state.watch = state.queue.watch(lambda: None)


def give_back(state: Interrupted) -> None:
    flown, state.flying = state.flying, []
    state.queue.put_back(flown)


def pull_more(state: Interrupted) -> None:
    state.pulled += state.queue.pull(5)


def unpull(state: Interrupted) -> None:
    pulled, state.pulled = state.pulled, []
    state.queue.put_back(pulled)


def take(state: Interrupted) -> None:
    pulled, state.pulled = state.pulled, []
    state.queue.take(pulled)
    state.flying += pulled


def put(state: Interrupted) -> None:
    record = state.make()
    place = state.queue.line_up(record, lambda: None)
    try:
        if place.has_room:
            state.queue.enter(place, record)
        else:
            state.queue.leave(place)
    except TimeIsUp:
        state.queue.leave(place)
        raise


def drain(state: Interrupted) -> None:
    dropped = len(state.queue.drain(DropReason.CLOSED))
    state.outcomes += dropped


def work(state: Interrupted) -> None:
    job = state.queue.packing.next()
    if job is not None:
        job.run()
        with state.queue.lock:
            state.queue.overflow.alone(state.queue.packing.commit, job)


def look(state: Interrupted) -> None:
    stats = read_books(state.queue, None, None, FakeClock(), ("ok", ""))
    assert stats.pushed == stats.settled + stats.queued + stats.in_flight
    assert stats.dropped == sum(stats.dropped_by_reason.values())


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("queued", [0, 1, 3])
@pytest.mark.parametrize(
    "act",
    [
        *(Interrupted.push, put, take, settle_some, give_back, pull_more, unpull, drain, watch),
        *(look, work),
    ],
    ids=lambda act: act.__name__,
)
def test_the_books_balance_wherever_a_push_interrupts(
    act: Callable[[Interrupted], None],
    queued: int,
    is_packed: bool,
    overflow: Literal["drop_oldest", "drop_newest"],
) -> None:
    """
    At every place under the lock where a handler can run, it may push, sessions included.
    """
    for at in count(1):
        state = Interrupted(overflow)
        for _ in range(queued):
            state.push()
        if is_packed:
            state.pack()
        with interrupted((at,), state.push) as was_interrupted:
            act(state)
        state.check()
        if not was_interrupted():
            break
    assert at > 5


class TimeIsUp(BaseException):
    """
    What a signal handler raises, such as Celery's soft time limit.
    """


def time_is_up() -> None:
    raise TimeIsUp


def lose(state: Interrupted) -> None:
    state.queue.recover(2)
    state.queue.lose((1, 1), DropReason.EXPIRED)


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("queued", [0, 1, 3])
@pytest.mark.parametrize("spooled", [0, 1, 100])
@pytest.mark.parametrize(
    "act",
    [
        *(Interrupted.push, put, take, settle_some, give_back, pull_more, unpull, drain, watch),
        *(lose, work),
    ],
    ids=lambda act: act.__name__,
)
def test_the_books_balance_wherever_an_exception_comes_from_outside(
    act: Callable[[Interrupted], None],
    queued: int,
    is_packed: bool,
    spooled: int,
    overflow: Literal["drop_oldest", "drop_newest"],
) -> None:
    """
    A signal handler may raise at any place: it is done or it is not, and no record is nowhere.
    """
    for at in count(1):
        state = Interrupted(overflow)
        queue, disk = state.queue, deque[Record]()
        for _ in range(queued):
            state.push()
        if is_packed:
            state.pack()
        watching = queue.watch(lambda: None)

        def spool(record: Record, disk: deque[Record] = disk) -> Any:
            return partial(disk.append, record) if len(disk) < spooled else None

        queue.overflow.spool = spool
        with interrupted((at,), time_is_up) as was_interrupted, suppress(TimeIsUp):
            act(state)

        check_all_is_somewhere(queue, len(disk))
        queue.recall(())
        for record in pull_all(queue):
            queue.take([record])
            queue.settle([record], Outcome.DELIVERED)
        recovered = queue.ledger.spooled - len(disk)
        queue.lose([*[0] * recovered, *[r.seq for r in disk]], DropReason.EXPIRED)
        assert watching.left == 0
        assert not queue.has_open_records
        assert queue.ledger.session_bytes == queue._budget.bytes == queue._budget.events == 0
        if not was_interrupted():
            break
    assert at > 5


def check_all_is_somewhere(queue: RecordQueue, spooled: int) -> None:
    """
    See that the numbers are those of the records that are there.
    """
    ledger = queue.ledger
    queued = {*ledger.waiting, *ledger.pulled}
    ended = ledger.delivered + ledger.rejected + sum(ledger.dropped.values())
    open_now = ledger.queued + ledger.in_flight + ledger.spooled
    assert ledger.pushed + ledger.recovered == ended + open_now
    assert ledger.spooled in {spooled, spooled + 2}  # with what `lose` has recovered
    assert ledger.queued == len(queued) == len(ledger.waiting) + len(ledger.pulled)
    packed = [record for record in ledger.waiting if record.block is not None]
    assert ledger.packed == len(packed)
    assert ledger.packed_bytes == sum(record.size for record in packed)
    assert ledger.queued_bytes == sum(record.size for record in queued)
    assert ledger.waiting_bytes == sum(record.size for record in ledger.waiting)
    assert ledger.in_flight == len(ledger.flying - queued)
    assert ledger.in_flight_bytes == sum(len(record.data) for record in ledger.flying)
    held = Counter(record.session for record in (*queued, *ledger.flying))
    assert +Counter(ledger.holders) == held
    assert ledger.session_bytes == sum(len(session.data) for session in held if session)
    assert list(ledger.waiting) == sorted(ledger.waiting, key=lambda record: record.seq)
    assert not queue.overflow.is_moving
    assert not queue.lock._is_owned()  # type: ignore[attr-defined]


def test_a_push_drops_nothing_that_is_being_moved() -> None:
    """
    One that needs the room of all others finds none while they are taken out.
    """
    for at in count(1):
        queue = RecordQueue(QueueLimits(max_bytes=60))
        for n in range(3):
            queue.offer(make_record(f"{n}", 20))
        losses: list[Loss | None] = []

        def push(queue: RecordQueue = queue, losses: list[Loss | None] = losses) -> None:
            losses.append(queue.offer(make_record("large", 60)))

        with interrupted((at,), push) as was_interrupted:
            pulled = queue.pull(3)
        if not was_interrupted():
            break
        records = [*pulled, *queue.pull(5)]
        dropped = sum(queue.ledger.dropped.values())
        assert dropped == sum(len(loss.records) for loss in losses if loss)
        assert queue.ledger.queued == len(records)
        assert queue.ledger.queued_bytes == sum(len(record.data) for record in records)
        assert queue.ledger.waiting_bytes == 0
    assert at > 10


def note_outcome(outcomes: list[tuple[str, Outcome]], settlement: Settlement) -> None:
    outcomes.extend((event_id, settlement.outcome) for event_id in settlement.event_ids)


def push_another(exporter: Exporter, pushed: list[str]) -> None:
    pushed.append(f"event-{len(pushed)}")
    exporter.push(model_event(event_id=pushed[-1]))


class SleepingSelector(selectors.DefaultSelector):
    """
    Raises a signal when the loop that it belongs to is about to sleep.
    """

    is_armed = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.is_armed and (timeout is None or timeout > 0):
            self.is_armed = False
            signal.raise_signal(signal.SIGUSR1)
        return super().select(timeout)


def test_a_push_in_a_signal_handler_wakes_a_sleeping_loop() -> None:
    """
    The event of a handler that ran while the loop slept leaves without another event.
    """
    selector = SleepingSelector()

    async def sleep_until_the_event_arrives() -> None:
        async with (
            ScriptedServer() as server,
            Exporter(KEY, base_url=server.url, batch=BatchLimits(linger=0.0)) as exporter,
        ):
            with handled(lambda: exporter.push(model_event())):
                selector.is_armed = True
                async with asyncio.timeout(5.0):
                    await server.next_request()

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(sleep_until_the_event_arrives())


class CountingLoop(asyncio.SelectorEventLoop):
    """
    Counts how often other threads wake it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wakes = 0

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self.wakes += threading.current_thread() is not threading.main_thread()
        return super().call_soon_threadsafe(callback, *args, context=context)


def test_wake_ups_are_coalesced() -> None:
    """
    Ten thousand pushes of a thread wake the loop about twice for each batch.
    """

    async def count_wakes() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        async with (
            ScriptedServer() as server,
            Exporter(
                KEY,
                base_url=server.url,
                queue=QueueLimits(max_events=20_000),
                _clock=FakeClock(),
            ) as exporter,
        ):
            with threads(lambda _: push_many(exporter, 0, 10_000), 1) as are_running:
                await until(lambda: not are_running())
            wakes = loop.wakes
            await exporter.flush()
            assert len(server.created) == 10_000
            return wakes, exporter.stats().requests

    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        wakes, requests = runner.run(count_wakes())

    assert 0 < wakes <= 2 * requests + 2
