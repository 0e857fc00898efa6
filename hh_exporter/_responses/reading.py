"""
The reading of one stream: its first token, its end, and the response it adds up to.

Whatever a chunk is, looking at it raises nothing for the reader of the stream.
"""

from __future__ import annotations

from asyncio import CancelledError
from typing import Final, Literal, TypeAlias

from attrs import define, field

from hh_exporter._clock import Clock
from hh_exporter._outside import let_through
from hh_exporter._responses.anthropic import AnthropicChunks
from hh_exporter._responses.chat import ChatChunks
from hh_exporter._responses.chunks import Assembly, Room, Text, members
from hh_exporter._responses.completion import Json
from hh_exporter._responses.gemini import GeminiChunks
from hh_exporter._responses.responses import ResponsesChunks

__all__ = ["Reading"]

End: TypeAlias = Literal["complete", "stopped", "cancelled", "failed"]

_ASSEMBLIES: Final = (ChatChunks, ResponsesChunks, AnthropicChunks, GeminiChunks)


@define(eq=False, repr=False)
class Reading:
    """
    The first token of a stream, its end, and the response that it is so far.
    """

    _clock: Clock | None
    first: float | None = field(default=None, init=False)
    """When the first token came, by the clock; of chunks of no known shape, the first one."""
    end: End | None = field(default=None, init=False)
    """How it ended; None while it may go on."""
    _assembly: Assembly | None = field(default=None, init=False)
    _text: Text = field(factory=Text, init=False)
    """Of chunks that are text themselves, as helpers of clients yield them."""
    _room: Room = field(factory=Room, init=False)

    @property
    def is_cut(self) -> bool:
        """
        Whether more came than is kept.
        """
        return self._room.left < 0

    def add(self, chunk: object) -> None:
        self.end = None  # a stream may go on after an exception
        try:
            if self._has_token(chunk) and self.first is None and self._clock is not None:
                self.first = self._clock.now()
        except BaseException as exc:  # of a hostile chunk, or a clock that may not be read
            let_through(exc)

    def _has_token(self, chunk: object) -> bool:
        if type(chunk) is str:
            self._text.add(chunk, self._room)
            return bool(chunk)
        held = members(chunk)
        if self._assembly is None:
            fitting = next((kind for kind in _ASSEMBLIES if kind.fits(held)), None)
            if fitting is None:
                return True
            self._assembly = fitting()
        return self._assembly.add(held, self._room)

    def stop(self) -> None:
        """
        Note that the reader closes the stream, unless it was over by itself.
        """
        self.end = self.end or "stopped"

    def fail(self, exc: BaseException) -> None:
        """
        Note that *exc* left the stream.
        """
        if isinstance(exc, CancelledError):
            self.end = "cancelled"
        else:
            self.end = "stopped" if isinstance(exc, GeneratorExit) else "failed"

    def whole(self) -> Json | None:
        """
        Return the response, as far as it came and was kept; None if nothing is known of it.

        Never raises because of data.
        """
        try:
            if self._assembly is not None:
                return self._assembly.whole()
        except BaseException as exc:
            let_through(exc)
        text = str(self._text)
        return {"role": "assistant", "content": text} if text else None
