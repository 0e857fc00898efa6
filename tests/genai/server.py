"""
A server that speaks the APIs of OpenAI, Anthropic and Google, on 127.0.0.1.

It runs in a thread of its own, so that clients of any kind can ask it. A test says beforehand
what it answers, one answer a request; without that it answers the same each time.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Final, Self, TypeAlias

from aiohttp import web
from attrs import field, frozen

from tests.genai.apis import APIS, Answer, Call, CutError, Failure

__all__ = ["Answer", "Asked", "Call", "Failure", "ModelServer"]

Json: TypeAlias = dict[str, Any]

VECTOR: Final = [0.25, 0.5, 0.75]
_IMMEDIATELY: Final = {"retry-after-ms": "1", "retry-after": "0"}
_LARGEST: Final = 1 << 26


@frozen
class Asked:
    """
    A request, as it arrived.
    """

    api: str
    """chat, responses, messages, gemini or embeddings."""
    body: Json
    headers: Mapping[str, str] = field(repr=False)


class ModelServer:
    """
    The server; a context manager.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        """All requests for an answer, in order of arrival."""
        self.arrived = threading.Event()
        """Set by the first of them."""
        self._script = deque[Answer | Failure]()
        self._stored: dict[str, Json] = {}
        """Answers of the Responses API, which can be read again."""
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self._thread: threading.Thread

    def answer(self, *answers: Answer | Failure) -> None:
        """
        Answer the next requests with *answers*, one each, in this order.
        """
        self._script += answers

    def reset(self) -> None:
        """
        Forget what was asked, and what was to be answered.
        """
        self.asked.clear()
        self.arrived.clear()
        self._script.clear()

    def __enter__(self) -> Self:
        port = Future[int]()
        serve = self._serve(port)
        self._thread = threading.Thread(target=asyncio.run, args=(serve,), name="model server")
        self._thread.start()
        self.url = f"http://127.0.0.1:{port.result()}"
        """The address, for the clients of Anthropic and Google."""
        self.openai_url = f"{self.url}/v1"
        """The address for clients of OpenAI."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    async def _serve(self, port: Future[int]) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=_LARGEST)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._handler("chat")),
                web.post("/openai/deployments/{model}/chat/completions", self._handler("chat")),
                web.post("/v1/responses", self._handler("responses")),
                web.get("/v1/responses/{id}", self._read),
                web.post("/v1/embeddings", self._embed),
                web.post("/v1/messages", self._handler("messages")),
                # Google's clients write the method after a colon.
                web.post("/{version}/models/{call}", self._handler("gemini")),
                web.post("/models/{call}", self._handler("gemini")),
                # Langfuse sends what it traces to its own server.
                web.post("/api/public/otel/v1/traces", self._take),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0, handler_cancellation=True)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port.set_result(runner.addresses[0][1])
            await self._over.wait()
        finally:
            await runner.cleanup()

    def _handler(self, name: str) -> Callable[[web.Request], Any]:
        api = APIS[name]

        async def handle(request: web.Request) -> web.StreamResponse:
            body = await self._note(name, request)
            answer = self._script.popleft() if self._script else Answer()
            if isinstance(answer, Failure):
                failure = api.failure(answer)
                return web.json_response(failure, status=answer.status, headers=_IMMEDIATELY)
            if answer.stops_after == 0:
                return await self._end(request, web.StreamResponse(), answer)
            if body.get("stream"):
                return await self._stream(request, name, body, answer)
            whole = api.whole(body, answer)
            if name == "responses":
                self._stored[whole["id"]] = whole
            return web.json_response(whole)

        return handle

    async def _note(self, name: str, request: web.Request) -> Json:
        body: Json = json.loads(await request.read())
        call = request.match_info.get("call")
        if call is not None:  # what others say in the body is in the path
            model, _, method = call.partition(":")
            body |= {"model": model, "stream": method == "streamGenerateContent"}
        self.asked.append(Asked(name, body, request.headers))
        self.arrived.set()
        return body

    async def _stream(
        self, request: web.Request, name: str, body: Json, answer: Answer
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        try:
            for piece in APIS[name].pieces(body, answer):
                event = f"event: {piece['type']}\n" if "type" in piece else ""
                await response.write(f"{event}data: {json.dumps(piece)}\n\n".encode())
        except CutError:
            return await self._end(request, response, answer)
        if name == "chat":
            await response.write(b"data: [DONE]\n\n")
        return response

    async def _end(
        self, request: web.Request, response: web.StreamResponse, answer: Answer
    ) -> web.StreamResponse:
        if answer.stops_after is not None:
            await self._over.wait()
        if request.transport is not None:
            request.transport.abort()
        return response

    async def _take(self, request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    async def _read(self, request: web.Request) -> web.Response:
        stored = self._stored.get(request.match_info["id"])
        if stored is None:
            failure = Failure(404, "there is no such response")
            return web.json_response(APIS["responses"].failure(failure), status=404)
        return web.json_response(stored)

    async def _embed(self, request: web.Request) -> web.Response:
        body = await self._note("embeddings", request)
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        vectors = [
            {"object": "embedding", "index": index, "embedding": VECTOR}
            for index, _ in enumerate(texts)
        ]
        usage = {"prompt_tokens": 8, "total_tokens": 8}
        answer = {"object": "list", "model": body["model"], "data": vectors, "usage": usage}
        return web.json_response(answer)
