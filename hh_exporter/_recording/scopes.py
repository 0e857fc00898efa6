"""
What encloses the code that runs: a session, or a step of a trace.

One context variable holds the newest scope, so tasks, and threads that run in a copied
context, inherit it. Only `Scope.open` and its counterparts here set it, and each sets it back
in the context that it set it in and in no other.

Two things the variable alone would get wrong. A generator shares its consumer's context: a
scope that is opened in the body of one is found by its frame, which must be on the stack. And
a scope that ended in another context than it began in is still what the variable holds there,
so it counts for nobody; one that ended in its own still counts for what was started inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from asyncio import _get_running_loop
from contextvars import ContextVar, Token
from inspect import CO_ASYNC_GENERATOR, CO_GENERATOR
from types import FrameType
from weakref import ref

from attrs import define, field

from hh_exporter.events import SessionProperties

__all__ = [
    "Resumed",
    "Scope",
    "current",
    "frame_of_generator",
    "here",
    "nowhere",
    "step_around",
]

_newest: ContextVar[Scope | None] = ContextVar("hh_exporter_scope", default=None)

_in_generators: dict[int, list[Scope]] = {}
"""Open scopes that generators opened, by the ids of their frames; changed one by one."""

_GENERATES = CO_GENERATOR | CO_ASYNC_GENERATOR
_CONTEXTLIB = contextlib.contextmanager.__code__.co_filename


class Scope:
    """
    One session or step that is open, or was when a task began that still runs.

    Holds, once it has ended, neither the event nor the exporter: no context may keep these alive.
    """

    __slots__ = (
        *("owner", "session", "session_id", "event_id", "is_open"),
        *("_is_left", "_frame", "_home", "_outer", "_before", "_others", "_token"),
    )
    owner: object
    """Stands for the exporter."""
    session: SessionProperties | None
    """The session, where its properties may still have to be sent."""
    session_id: str | None
    event_id: str | None
    """The step that events inside have as their parent; None directly in a session."""
    is_open: bool
    _is_left: bool
    """Whether it ended, and the context that it began in may still hold it."""
    _frame: int
    """Id of the frame of the generator that opened it."""
    _home: object
    """The task, or the thread, that it was opened in, if that was by a generator."""
    _outer: Scope | None
    """The scope of the same owner that encloses it."""
    _before: Scope | None
    """What the variable held, of whatever owner."""
    _others: Scope | None
    """The first of those that is another owner's."""
    _token: Token[Scope | None] | None
    """Sets the variable back, once and in its context."""

    def __init__(
        self,
        owner: object,
        session: SessionProperties | None,
        session_id: str | None,
        event_id: str | None,
    ) -> None:
        self.owner = owner
        self.session = session
        self.session_id = session_id
        self.event_id = event_id

    def open(self, outer: Scope | None, frame: int = 0, is_resumed: bool = False) -> None:
        """
        Enclose what runs from here on.

        Args:
            outer: What `current` says at this point.
            frame: What `frame_of_generator` says.
            is_resumed: Whether it is a generator's, and encloses only what runs in `Resumed`.
        """
        self.is_open = True
        self._is_left = False
        self._frame = frame
        self._outer = outer
        before = _newest.get()
        while before is not None and before._is_left:
            before = before._before
        self._before = before
        if before is None or before.owner is not self.owner:
            self._others = before
        else:
            self._others = before._others
        if frame:
            self._home = here()
            _in_generators.setdefault(frame, []).append(self)
        self._token = None if is_resumed else _newest.set(self)

    def close(self) -> None:
        """
        Enclose no more, except what was started inside and goes on.
        """
        self.is_open = False
        if self._frame:
            scopes = _in_generators[self._frame]
            scopes.remove(self)
            if not scopes:
                del _in_generators[self._frame]
        token, self._token = self._token, None  # it holds the context, which holds this
        if token is not None and not self._leave(token):
            self._is_left = True
            return
        # What goes on finds this one first, and needs only what others have around it: a task
        # that starts the next one inside its scope, without end, must leave no chain behind.
        self._outer, self._before = None, self._others

    def _leave(self, token: Token[Scope | None]) -> bool:
        """
        Take it out of the context; False if that is not the one that it began in.
        """
        newest = _newest.get()
        if newest is self:
            try:
                _newest.reset(token)
            except ValueError:  # a copy
                _newest.set(self._before)
                return False
            if _newest.get() is not self._before:  # which has ended since
                _newest.set(self._before)
            return True
        while newest is not None and newest._before is not self:
            newest = newest._before
        if newest is None:
            return False
        newest._before = self._before  # one that a generator opened, and that is still open
        return True

    def _reaches(self) -> bool:
        """
        Whether it encloses what runs here, in whose context it was found.
        """
        if self.is_open and self._frame:
            return self._home is not here()  # or it would be on the stack
        return not self._is_left

    def _is_inside(self, other: Scope) -> bool:
        scope: Scope | None = self
        while scope is not None and scope is not other:
            scope = scope._outer
        return scope is not None


def current(owner: object) -> Scope | None:
    """
    Find the scope of *owner* that encloses the caller. Any thread, within 60 ns if there is none.
    """
    newest = _newest.get()
    if not _in_generators:
        if newest is None:
            return None
        if newest.owner is owner and newest.is_open:
            return newest
    return _find(owner, newest)


def step_around(owner: object) -> Scope | None:
    """
    Find the nearest step of *owner* that encloses the caller.
    """
    scope = current(owner)
    while scope is not None and scope.event_id is None:
        scope = scope._outer
    return scope


def _find(owner: object, newest: Scope | None) -> Scope | None:
    if newest is _NOWHERE:
        return None
    on_stack = _find_on_stack(owner) if _in_generators else None
    while newest is not None and not (newest.owner is owner and newest._reaches()):
        newest = newest._before
    if on_stack is None or (newest is not None and newest._is_inside(on_stack)):
        return newest
    return on_stack


def _find_on_stack(owner: object) -> Scope | None:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        for scope in reversed(_in_generators.get(id(frame), ())):
            if scope.owner is owner:
                return scope
        frame = frame.f_back
    return None


@define(eq=False)
class Resumed:
    """
    A context manager for each time that a generator is resumed.

    What the generator does is inside the scope, what its reader does is not.
    """

    _inner: Scope | None
    """What the variable holds within the generator."""
    _token: Token[Scope | None] | None = field(default=None, init=False)

    def __enter__(self) -> None:
        self._token = _newest.set(self._inner)

    def __exit__(self, *exc_info: object) -> None:
        token, self._token = self._token, None
        inner = _newest.get()
        try:
            _newest.reset(token)  # type: ignore[arg-type]
        except ValueError:  # an asynchronous step that is closed in another context
            return
        self._inner = inner


def nowhere() -> Resumed:
    """
    Have nothing enclose the block.
    """
    return Resumed(_NOWHERE)


def frame_of_generator(frame: FrameType | None) -> int:
    """
    Find the generator in whose body a block is entered, at *frame*: it encloses what runs there.

    Returns:
        The id of the generator's frame; 0 outside generators, and where contextlib drives the
        generator: then the block encloses what the `with` does.
    """
    while frame is not None and frame.f_code.co_filename == _CONTEXTLIB:
        frame = frame.f_back  # an ExitStack
    driver = frame
    while driver is not None and driver.f_code.co_flags & _GENERATES:
        driver = driver.f_back
    is_active = driver is not None and driver.f_code.co_filename == _CONTEXTLIB
    return 0 if driver is frame or is_active else id(frame)


_threads = threading.local()  # not of a class of ours, which a sandbox would refuse


def here() -> object:
    """
    Identify the running task, or else the thread, by something that no other will be.
    """
    loop = _get_running_loop()
    if loop is not None and (task := asyncio.current_task(loop)) is not None:
        return ref(task)  # the same object each time, while one is held
    try:
        return _threads.token
    except AttributeError:
        _threads.token = token = object()  # idents are used again
        return token


_NOWHERE = Scope(None, None, None, None)
"""Belongs to nobody, and nothing that encloses it counts."""
_NOWHERE.open(None, is_resumed=True)
