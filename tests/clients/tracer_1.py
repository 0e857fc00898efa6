"""
A program that PyPI honeyhive 1.x traces; run by test_tracers.py, with the collector's address.

Prints as JSON the id of its session. The client logs problems to stderr.
"""

from __future__ import annotations

import json
import sys

from honeyhive import HoneyHiveTracer, enrich_span, trace

CHAT = [{"role": "user", "content": "Wo ist mein Päckchen?"}]


def main(url: str) -> None:
    tracer = HoneyHiveTracer.init(api_key="hh_test_key", session_name="support", server_url=url)

    @trace(event_type="tool", event_name="find_parcel")
    def find(number: int, how: dict[str, object]) -> dict[str, object]:
        return {"place": "Bern", "number": number, "by": ["train", "van"]}

    @trace(event_type="tool", event_name="call_driver")
    def call() -> None:
        raise ValueError("no answer")

    @trace(event_type="model", event_name="ask")
    def ask(messages: list[dict[str, str]]) -> str:
        enrich_span(
            config={"model": "gpt-4o", "provider": "openai", "temperature": 0.2},
            inputs={"chat_history": messages},
            outputs={"role": "assistant", "content": "In Bern."},
            metadata={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
            metrics={"score": 0.5},
            feedback={"liked": True},
            user_properties={"user_id": "u1"},
        )
        find(7, {"deep": [1, {"x": True}]})
        return "In Bern."

    @trace(event_type="chain", event_name="answer")
    def answer() -> int:
        ask(CHAT)
        try:
            call()
        except ValueError:
            return 1
        return 0

    answer()
    tracer.enrich_session(
        metadata={"k": 1},
        feedback={"rating": 5},
        metrics={"m": 0.5},
        outputs={"done": True},
        user_properties={"user_id": "u1"},
    )
    tracer.flush()
    tracer.shutdown()
    print(json.dumps({"session_id": tracer.session_id}))


main(*sys.argv[1:])
