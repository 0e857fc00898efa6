"""
JSON responses, and errors in the form that the API uses.

Every exception of a handler becomes a response, unless part of one was already sent.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from hh_exporter._collector.storage.store import UnwritableError

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

__all__ = ["error_answer", "errors_as_json", "json_answer"]

log = logging.getLogger(__name__)

_ERROR_CODES = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    415: "unsupported_encoding",
    421: "misdirected_request",
    429: "rate_limited",
    503: "unavailable",
}


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """
    Answer an error with what the official clients read: `message`, `errorCode` and so on.
    """
    try:
        return await handler(request)
    except web.HTTPException as exc:
        code = _ERROR_CODES.get(exc.status, "refused")
        exc.text = orjson.dumps(_error(exc.status, exc.text or exc.reason, code)).decode()
        exc.content_type = "application/json"
        raise
    except UnwritableError as exc:
        answer = error_answer(503, str(exc), _ERROR_CODES[503])
        answer.headers["Retry-After"] = "1"
        return answer
    except ConnectionError:
        raise  # the client is gone
    except Exception:
        log.exception("hh_exporter: the collector can't answer %s %r", request.method, request.path)
        if request.writer.output_size:
            raise  # half an answer can only be cut
        return error_answer(500, "the collector failed: see its log", "internal_error")


def error_answer(status: int, message: str, code: str) -> web.Response:
    """
    Make the answer to a request that failed, as the API's clients describe it since 2026-09.
    """
    return json_answer(_error(status, message, code), status=status)


def json_answer(answer: dict[str, Any], *, status: int = 200) -> web.Response:
    """
    Make an answer that says *answer*.
    """
    return web.Response(body=orjson.dumps(answer), status=status, content_type="application/json")


def _error(status: int, message: str, code: str) -> dict[str, Any]:
    return {"statusCode": status, "message": message, "success": False, "errorCode": code}
