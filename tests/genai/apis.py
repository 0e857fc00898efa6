"""
What the four APIs send back: the same answer, as each of them writes it, whole or in pieces.

An answer is said once, without any API's words. Each class writes it as its API does, by the
reference pages of OpenAI, Anthropic and Google, and as their clients parse it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count
from typing import Any, ClassVar, Final, Protocol, TypeAlias

from attrs import frozen

__all__ = [
    "APIS",
    "Answer",
    "Api",
    "Call",
    "Chat",
    "CutError",
    "Failure",
    "Gemini",
    "Messages",
    "Responses",
]

Json: TypeAlias = dict[str, Any]

CREATED: Final = 1_790_000_000

ANSWERED: Final = {
    "chat": "-2024-07-18",
    "responses": "-2024-07-18",
    "messages": "-20260217",
    "gemini": "",
}
"""What an API adds to the name of the model that was asked for, to say which one answers."""

_numbers = count(1)


@frozen
class Call:
    """
    A call of a tool that the model asks for.
    """

    id: str
    name: str
    arguments: Json


@frozen(kw_only=True)
class Answer:
    """
    What the model says, and how far the server gets with it.
    """

    text: str | None = "The capital is Paris."
    reasoning: str | None = None
    """Its thoughts, or a summary of them; Chat Completions shows none."""
    calls: tuple[Call, ...] = ()
    has_usage: bool = True
    """Whether a stream has its tokens; Chat Completions also wants to be asked for them."""
    dies_after: int | None = None
    """The connection breaks after so many words of a stream."""
    stops_after: int | None = None
    """The server falls silent after so many words of a stream; 0: it does not even begin."""

    def words(self) -> Iterator[str]:
        """
        Cut the text into words, as it is streamed.

        Raises:
            CutError: This is how far the server gets.
        """
        for number, word in enumerate(re.findall(r"\S+\s*", self.text or "")):
            if number in (self.dies_after, self.stops_after):
                raise CutError
            yield word


class CutError(Exception):
    """
    The answer ends here, in the middle of its text.
    """


@frozen
class Failure:
    """
    An answer with an error.
    """

    status: int
    message: str


class Api(Protocol):
    """
    How one API writes answers.
    """

    def whole(self, asked: Json, answer: Answer) -> Json:
        """
        Write the body of an answer to what was *asked*.
        """

    def pieces(self, asked: Json, answer: Answer) -> Iterator[Json]:
        """
        Write the data of each server-sent event; one with a `type` has an event of that name.
        """

    def failure(self, failure: Failure) -> Json:
        """
        Write the body of an error.
        """


def _arguments(call: Call) -> str:
    return json.dumps(call.arguments, separators=(",", ":"))


class Chat:
    """
    OpenAI's Chat Completions.
    """

    USAGE: ClassVar[Json] = {
        "prompt_tokens": 1000,
        "completion_tokens": 300,
        "total_tokens": 1300,
        "prompt_tokens_details": {"cached_tokens": 800, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 200,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }

    def whole(self, asked: Json, answer: Answer) -> Json:
        message: Json = {"role": "assistant", "content": answer.text, "refusal": None}
        if answer.calls:
            message["tool_calls"] = [self._call(call) for call in answer.calls]
        choice = {"message": message, "logprobs": None, "finish_reason": self._reason(answer)}
        choices = [{"index": index, **choice} for index in range(asked.get("n") or 1)]
        return {
            **self._head(asked),
            "object": "chat.completion",
            "choices": choices,
            "usage": self.USAGE,
        }

    def pieces(self, asked: Json, answer: Answer) -> Iterator[Json]:
        head = {**self._head(asked), "object": "chat.completion.chunk"}

        def chunk(delta: Json, reason: str | None = None) -> Json:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            return {**head, "choices": [choice], "usage": None}

        yield chunk({"role": "assistant", "content": "" if answer.text else None, "refusal": None})
        for word in answer.words():
            yield chunk({"content": word})
        for index, call in enumerate(answer.calls):
            begun = {"name": call.name, "arguments": ""}
            yield chunk({"tool_calls": [{"index": index, **self._call(call), "function": begun}]})
            text = _arguments(call)
            for part in (text[:4], text[4:]):
                yield chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
        yield chunk({}, self._reason(answer))
        if answer.has_usage and (asked.get("stream_options") or {}).get("include_usage"):
            yield {**head, "choices": [], "usage": self.USAGE}

    def failure(self, failure: Failure) -> Json:
        kind = "rate_limit_error" if failure.status == 429 else "invalid_request_error"
        kind = kind if failure.status < 500 else "server_error"
        return {"error": {"message": failure.message, "type": kind, "param": None, "code": None}}

    def _head(self, asked: Json) -> Json:
        return {
            "id": f"chatcmpl-{next(_numbers)}",
            "created": CREATED,
            "model": asked.get("model", "deployment") + ANSWERED["chat"],
            "service_tier": "default",
            "system_fingerprint": "fp_1",
        }

    def _call(self, call: Call) -> Json:
        function = {"name": call.name, "arguments": _arguments(call)}
        return {"id": call.id, "type": "function", "function": function}

    def _reason(self, answer: Answer) -> str:
        return "tool_calls" if answer.calls else "stop"


class Responses:
    """
    OpenAI's Responses.
    """

    USAGE: ClassVar[Json] = {
        "input_tokens": 1000,
        "input_tokens_details": {"cached_tokens": 800, "cache_write_tokens": 0},
        "output_tokens": 300,
        "output_tokens_details": {"reasoning_tokens": 200},
        "total_tokens": 1300,
    }

    def whole(self, asked: Json, answer: Answer) -> Json:
        return {
            "id": f"resp_{next(_numbers)}",
            "object": "response",
            "created_at": CREATED,
            "completed_at": CREATED + 1,
            "status": "completed",
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": asked.get("instructions"),
            "max_output_tokens": asked.get("max_output_tokens"),
            "metadata": asked.get("metadata") or {},
            "model": asked.get("model", "deployment") + ANSWERED["chat"],
            "output": list(self._items(answer)),
            "parallel_tool_calls": True,
            "previous_response_id": asked.get("previous_response_id"),
            "reasoning": asked.get("reasoning") or {"effort": None, "summary": None},
            "service_tier": "default",
            "store": True,
            "temperature": asked.get("temperature", 1.0),
            "text": asked.get("text") or {"format": {"type": "text"}, "verbosity": "medium"},
            "tool_choice": asked.get("tool_choice", "auto"),
            "tools": asked.get("tools") or [],
            "top_logprobs": 0,
            "top_p": asked.get("top_p", 1.0),
            "truncation": "disabled",
            "usage": self.USAGE,
            "user": None,
        }

    def pieces(self, asked: Json, answer: Answer) -> Iterator[Json]:
        for number, event in enumerate(self._events(asked, answer)):
            yield {**event, "sequence_number": number}

    def failure(self, failure: Failure) -> Json:
        return Chat().failure(failure)

    def _items(self, answer: Answer) -> Iterator[Json]:
        if answer.reasoning is not None:
            summary = [{"type": "summary_text", "text": answer.reasoning}]
            yield {"id": f"rs_{next(_numbers)}", "type": "reasoning", "summary": summary}
        if answer.text is not None:
            yield {
                "id": f"msg_{next(_numbers)}",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [self._text(answer.text)],
            }
        for call in answer.calls:
            yield {
                "id": f"fc_{next(_numbers)}",
                "type": "function_call",
                "status": "completed",
                "call_id": call.id,
                "name": call.name,
                "arguments": _arguments(call),
            }

    def _text(self, text: str) -> Json:
        return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}

    def _events(self, asked: Json, answer: Answer) -> Iterator[Json]:
        done = self.whole(asked, answer)
        if not answer.has_usage:
            done["usage"] = None
        begun = {**done, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
        yield {"type": "response.created", "response": begun}
        yield {"type": "response.in_progress", "response": begun}
        for index, item in enumerate(done["output"]):
            here = {"output_index": index}
            yield {"type": "response.output_item.added", **here, "item": self._begun(item)}
            at = {"item_id": item["id"], **here}
            if item["type"] == "reasoning":
                yield from self._thoughts(at, item["summary"][0])
            elif item["type"] == "message":
                yield from self._words(at, item["content"][0], answer.words())
            else:
                kind = "response.function_call_arguments"
                yield {"type": f"{kind}.delta", **at, "delta": item["arguments"]}
                named = {"name": item["name"], "arguments": item["arguments"]}
                yield {"type": f"{kind}.done", **at, **named}
            yield {"type": "response.output_item.done", **here, "item": item}
        yield {"type": "response.completed", "response": done}

    def _begun(self, item: Json) -> Json:
        empty: Json = {
            "reasoning": {"summary": []},
            "message": {"content": [], "status": "in_progress"},
            "function_call": {"arguments": "", "status": "in_progress"},
        }
        return {**item, **empty[item["type"]]}

    def _thoughts(self, at: Json, part: Json) -> Iterator[Json]:
        here, kind = {**at, "summary_index": 0}, "response.reasoning_summary"
        yield {"type": f"{kind}_part.added", **here, "part": {**part, "text": ""}}
        yield {"type": f"{kind}_text.delta", **here, "delta": part["text"]}
        yield {"type": f"{kind}_text.done", **here, "text": part["text"]}
        yield {"type": f"{kind}_part.done", **here, "part": part}

    def _words(self, at: Json, part: Json, words: Iterator[str]) -> Iterator[Json]:
        here, kind = {**at, "content_index": 0}, "response.output_text"
        yield {"type": "response.content_part.added", **here, "part": {**part, "text": ""}}
        for word in words:
            yield {"type": f"{kind}.delta", **here, "delta": word, "logprobs": []}
        yield {"type": f"{kind}.done", **here, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **here, "part": part}


class Messages:
    """
    Anthropic's Messages.
    """

    USAGE: ClassVar[Json] = {
        "input_tokens": 100,
        "cache_read_input_tokens": 800,
        "cache_creation_input_tokens": 50,
        "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 30,
        "service_tier": "standard",
    }

    def whole(self, asked: Json, answer: Answer) -> Json:
        return {
            "id": f"msg_{next(_numbers)}",
            "type": "message",
            "role": "assistant",
            "model": asked["model"] + ANSWERED["messages"],
            "content": list(self._blocks(answer)),
            "stop_reason": "tool_use" if answer.calls else "end_turn",
            "stop_sequence": None,
            "usage": self.USAGE,
        }

    def pieces(self, asked: Json, answer: Answer) -> Iterator[Json]:
        done = self.whole(asked, answer)
        started = {**self.USAGE, "output_tokens": 2} if answer.has_usage else {}
        counted = started or {"input_tokens": 0, "output_tokens": 0}
        begun = {**done, "content": [], "stop_reason": None, "usage": counted}
        yield {"type": "message_start", "message": begun}
        yield {"type": "ping"}
        for index, block in enumerate(done["content"]):
            yield from self._block(index, block, answer)
        reason = {"stop_reason": done["stop_reason"], "stop_sequence": None}
        tokens = {"output_tokens": self.USAGE["output_tokens"] if answer.has_usage else 0}
        yield {"type": "message_delta", "delta": reason, "usage": tokens}
        yield {"type": "message_stop"}

    def failure(self, failure: Failure) -> Json:
        kinds = {400: "invalid_request_error", 429: "rate_limit_error", 529: "overloaded_error"}
        kind = kinds.get(failure.status, "api_error")
        error = {"type": kind, "message": failure.message}
        return {"type": "error", "error": error, "request_id": f"req_{next(_numbers)}"}

    def _blocks(self, answer: Answer) -> Iterator[Json]:
        if answer.reasoning is not None:
            yield {"type": "thinking", "thinking": answer.reasoning, "signature": "c2lnbmF0dXJl"}
        if answer.text is not None:
            yield {"type": "text", "text": answer.text, "citations": None}
        for call in answer.calls:
            named = {"id": call.id, "name": call.name, "input": call.arguments}
            yield {"type": "tool_use", **named}

    def _block(self, index: int, block: Json, answer: Answer) -> Iterator[Json]:
        empty: Json = {
            "thinking": {"thinking": "", "signature": ""},
            "text": {"text": ""},
            "tool_use": {"input": {}},
        }
        here = {"index": index}
        begun = {**block, **empty[block["type"]]}
        yield {"type": "content_block_start", **here, "content_block": begun}
        for delta in self._deltas(block, answer):
            yield {"type": "content_block_delta", **here, "delta": delta}
        yield {"type": "content_block_stop", **here}

    def _deltas(self, block: Json, answer: Answer) -> Iterator[Json]:
        if block["type"] == "thinking":
            yield {"type": "thinking_delta", "thinking": block["thinking"]}
            yield {"type": "signature_delta", "signature": block["signature"]}
        elif block["type"] == "text":
            for word in answer.words():
                yield {"type": "text_delta", "text": word}
        else:
            text = json.dumps(block["input"])
            for part in ("", text[:4], text[4:]):
                yield {"type": "input_json_delta", "partial_json": part}


class Gemini:
    """
    Google's generateContent.
    """

    USAGE: ClassVar[Json] = {
        "promptTokenCount": 100,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 50,
        "totalTokenCount": 170,
        "cachedContentTokenCount": 80,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}],
    }

    def whole(self, asked: Json, answer: Answer) -> Json:
        parts = [*self._thoughts(answer), *self._texts(answer.text), *self._calls(answer)]
        return self._chunk(self._head(asked), parts, "STOP") | {"usageMetadata": self.USAGE}

    def pieces(self, asked: Json, answer: Answer) -> Iterator[Json]:
        head = self._head(asked)
        for thought in self._thoughts(answer):
            yield self._chunk(head, [thought], None)
        for word in answer.words():
            yield self._chunk(head, self._texts(word), None)
        for call in self._calls(answer):
            yield self._chunk(head, [call], None)
        last = self._chunk(head, self._texts(""), "STOP")
        yield last | ({"usageMetadata": self.USAGE} if answer.has_usage else {})

    def failure(self, failure: Failure) -> Json:
        kinds = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED"}
        status = kinds.get(failure.status, "INTERNAL")
        error = {"code": failure.status, "message": failure.message, "status": status}
        return {"error": error}

    def _head(self, asked: Json) -> Json:
        return {"responseId": f"gemini-{next(_numbers)}", "modelVersion": asked["model"]}

    def _chunk(self, head: Json, parts: list[Json], reason: str | None) -> Json:
        candidate: Json = {"index": 0, "content": {"role": "model", "parts": parts}}
        if reason is not None:
            candidate["finishReason"] = reason
        return {"candidates": [candidate], **head}

    def _thoughts(self, answer: Answer) -> list[Json]:
        return [{"text": answer.reasoning, "thought": True}] if answer.reasoning else []

    def _texts(self, text: str | None) -> list[Json]:
        return [] if text is None else [{"text": text}]

    def _calls(self, answer: Answer) -> list[Json]:
        return [
            {"functionCall": {"id": call.id, "name": call.name, "args": call.arguments}}
            for call in answer.calls
        ]


APIS: Final[dict[str, Api]] = {
    "chat": Chat(),
    "responses": Responses(),
    "messages": Messages(),
    "gemini": Gemini(),
}
