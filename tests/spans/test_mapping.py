"""
What becomes of a span: one event, whoever made the span.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid5

import pytest

from hh_exporter._dialects.v1 import V1Dialect
from hh_exporter._spans.mapping import event_of as made_of
from hh_exporter._spans.span import Span

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
PARENT = "00f067aa0ba902b7"
TOOL_RESULT = {"type": "tool_call_response", "id": "c1", "response": "Bern"}


def span(**fields: Any) -> Span:
    ordinary = {
        "name": "work",
        "start": 1_700_000_000_000_000_000,
        "end": 1_700_000_000_820_500_000,
    }
    return Span(**{"trace_id": TRACE, "span_id": SPAN, **ordinary, **fields})


def event_of(span: Span) -> dict[str, Any]:
    """
    Make the event of *span* as the v1 dialect has it.
    """
    return V1Dialect().unstructure(made_of(span))


def read(**attributes: Any) -> dict[str, Any]:
    """
    Make the event of a span with *attributes*, whose dots are written as two underscores.
    """
    return event_of(
        span(attributes={name.replace("__", "."): attributes[name] for name in attributes})
    )


class TestEverySpan:
    """
    What holds of a span that says nothing but its name.
    """

    def test_it_has_its_times_and_its_trace(self) -> None:
        """
        Times are Unix milliseconds, a session is made of the trace, and the type is the vendor's.
        """
        event = event_of(span())

        assert event.pop("event_id")
        assert event == {
            "event_type": "tool",
            "event_name": "work",
            "session_id": str(UUID(TRACE)),
            "start_time": 1_700_000_000_000,
            "end_time": 1_700_000_000_820,
            "duration": 820.5,
            "inputs": {},
            "metadata": {"trace_id": TRACE, "span_id": SPAN},
        }

    def test_its_id_is_its_childs_parent(self) -> None:
        """
        Ids follow from those of spans, and are UUIDs, as the API wants them.
        """
        parent = event_of(span(span_id=PARENT))
        child = event_of(span(parent_id=PARENT))

        assert child["parent_id"] == parent["event_id"]
        assert child == event_of(span(parent_id=PARENT))
        assert str(UUID(child["event_id"])) == child["event_id"] != parent["event_id"]

    def test_its_id_is_that_of_its_name_in_its_trace(self) -> None:
        """
        Whoever knows a span's ids finds its event: they are UUIDs of version 5.
        """
        for number in range(64):
            span_id = f"{number:016x}"

            assert event_of(span(span_id=span_id))["event_id"] == str(uuid5(UUID(TRACE), span_id))

    def test_attributes_that_nobody_knows_are_metadata(self) -> None:
        """
        Nothing of a span is lost.
        """
        event = read(http__method="GET", honeyhive_metadata__run="r")

        assert event["metadata"].items() >= {"http.method": "GET", "run": "r"}.items()

    def test_the_environment_is_the_source(self) -> None:
        """
        As the resource names it.
        """
        resource = {"deployment.environment.name": "production"}

        assert event_of(span(resource=resource))["source"] == "production"

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ({}, None),
            ({"is_error": True}, "error"),
            ({"is_error": True, "attributes": {"error.type": "TimeoutError"}}, "TimeoutError"),
            ({"is_error": True, "description": "no answer"}, "no answer"),
            (
                {
                    "is_error": True,
                    "description": "Traceback …",
                    "exception": {"exception.message": "no answer"},
                },
                "no answer",
            ),
            ({"exception": {"exception.type": "ValueError"}}, "ValueError"),
            (
                {"is_error": True, "attributes": {"honeyhive_error": "theirs"}},
                "theirs",
            ),
        ],
    )
    def test_an_error_is_told_in_its_own_words(
        self, fields: dict[str, Any], error: str | None
    ) -> None:
        """
        A description may hold a traceback, so the exception comes first.
        """
        assert event_of(span(**fields)).get("error") == error


class TestHoneyHive:
    """
    What the vendor's tracers say.
    """

    def test_objects_are_put_together_again(self) -> None:
        """
        One attribute a value, or JSON text, in whatever order.
        """
        event = read(
            honeyhive_event_type="MODEL",
            honeyhive_event_name="ask",
            honeyhive_inputs__chat_history__1__role="user",
            honeyhive_inputs__chat_history__0__role="system",
            honeyhive_inputs__how='{"deep": [1, null]}',
            honeyhive_inputs__text="{not JSON",
            honeyhive_outputs='{"role": "assistant"}',
            honeyhive_config__model="gpt-4o",
            honeyhive_duration_ms=7.5,
        )

        assert (event["event_type"], event["event_name"]) == ("model", "ask")
        assert event["inputs"] == {
            "chat_history": [{"role": "system"}, {"role": "user"}],
            "how": {"deep": [1, None]},
            "text": "{not JSON",
        }
        assert event["outputs"] == {"role": "assistant"}
        assert event["config"] == {"model": "gpt-4o"}
        assert event["duration"] == 7.5

    def test_a_value_may_be_an_object_too(self) -> None:
        """
        Neither is lost, whichever comes first.
        """
        one = read(honeyhive_outputs__result="text", honeyhive_outputs__result__place="Bern")
        other = read(honeyhive_outputs__result__place="Bern", honeyhive_outputs__result="text")

        assert one["outputs"] == other["outputs"] == {"result": {"": "text", "place": "Bern"}}
        whole = read(honeyhive_outputs="text", honeyhive_outputs__place="Bern")
        assert whole["outputs"] == {"": "text", "place": "Bern"}

    def test_a_session_is_its_own_event(self) -> None:
        """
        It has the session's id, and no parent.
        """
        event = made_of(
            span(
                parent_id=PARENT,
                attributes={"honeyhive_event_type": "session", "honeyhive.session_id": "s"},
            )
        )

        assert (event.event_id, event.session_id, event.parent_id) == ("s", "s", None)

    def test_a_name_of_many_dots_is_no_deep_object(self) -> None:
        """
        What is behind the dots that are looked at stays one name.
        """
        deep = "a." * 100_000
        event = event_of(span(attributes={f"honeyhive_inputs.{deep}": 1}))

        assert len(json.dumps(event["inputs"])) < 2.1 * len(deep)
        assert event["inputs"]["a"]["a"]["a"]

    def test_null_is_nothing(self) -> None:
        """
        As the npm tracer writes it, at whatever depth.
        """
        event = read(honeyhive_outputs__result__list__0="null", honeyhive_inputs="null")

        assert event["outputs"] == {"result": {"list": [None]}}
        assert event["inputs"] == {}

    @pytest.mark.parametrize("odd", [None, 7, True, "", [], "other"])
    def test_odd_values_say_nothing(self, odd: object) -> None:
        """
        What is of no use as a type, a name or an id leaves what the span has.
        """
        names = ("honeyhive_event_type", "honeyhive_duration_ms")
        event = event_of(span(attributes=dict.fromkeys(names, odd)))

        assert event["event_type"] == "tool"
        assert event["duration"] in (820.5, 7)

    def test_odd_values_are_not_lost(self) -> None:
        """
        They stay under their names.
        """
        event = read(honeyhive_duration_ms="soon", honeyhive_event_name=7)

        odd = {"honeyhive_duration_ms": "soon", "honeyhive_event_name": 7}
        assert event["metadata"].items() >= odd.items()
        assert (event["event_name"], event["duration"]) == ("work", 820.5)


class TestGenAi:
    """
    What the OpenTelemetry GenAI conventions say.
    """

    def test_a_chat_is_a_conversation(self) -> None:
        """
        Messages, tool calls and their results stand where the API's examples have them.
        """
        asked = [
            {"role": "user", "parts": [{"type": "text", "content": "Where?"}]},
            {
                "role": "assistant",
                "parts": [
                    {"type": "reasoning", "content": "Look it up."},
                    {"type": "tool_call", "id": "c1", "name": "find", "arguments": {"n": 7}},
                ],
            },
            {
                "role": "tool",
                "parts": [{"type": "tool_call_response", "id": "c1", "response": "Bern"}],
            },
        ]
        answered = [
            {
                "role": "model",
                "parts": [{"type": "text", "content": "In Bern."}],
                "finish_reason": "stop",
            }
        ]
        event = read(
            gen_ai__operation__name="chat",
            gen_ai__provider__name="openai",
            gen_ai__request__model="gpt-4o",
            gen_ai__response__model="gpt-4o-2024-08-06",
            gen_ai__request__temperature=0.2,
            gen_ai__system_instructions='[{"type": "text", "content": "Be short."}]',
            gen_ai__input__messages=json.dumps(asked),
            gen_ai__output__messages=json.dumps(answered),
            gen_ai__usage__input_tokens=11,
            gen_ai__usage__output_tokens=5,
            gen_ai__usage__cache_read__input_tokens=8,
            gen_ai__response__finish_reasons=["stop"],
            gen_ai__conversation__id="talk",
        )

        assert event["event_type"] == "model"
        assert event["metadata"]["session_key"] == "talk"
        call = {"name": "find", "arguments": '{"n":7}'}
        assert event["inputs"]["chat_history"] == [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Where?"},
            {
                "role": "assistant",
                "reasoning_content": "Look it up.",
                "tool_calls": [{"id": "c1", "type": "function", "function": call}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "Bern"},
        ]
        assert event["outputs"] == {"role": "assistant", "content": "In Bern."}
        assert event["config"] == {
            "model": "gpt-4o-2024-08-06",
            "provider": "openai",
            "hyperparameters": {"temperature": 0.2},
        }
        counts = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
        assert event["metadata"].items() >= {**counts, "cache_read_tokens": 8}.items()
        assert event["metadata"]["finish_reason"] == "stop"
        assert event["metadata"]["requested_model"] == "gpt-4o"

    def test_the_name_of_a_tools_message_is_that_of_its_result(self) -> None:
        """
        As OpenTelemetry's instrumentation of LangChain has it: no message of its own.
        """
        asked = [{"role": "tool", "parts": [TOOL_RESULT], "name": "find"}]
        event = read(gen_ai__operation__name="chat", gen_ai__input__messages=json.dumps(asked))

        assert event["inputs"]["chat_history"] == [
            {"role": "tool", "tool_call_id": "c1", "content": "Bern", "name": "find"}
        ]

    def test_several_answers_are_choices(self) -> None:
        """
        The first of them is the answer.
        """
        answers = [
            {"role": "assistant", "parts": ["one"], "finish_reason": "stop"},
            {"role": "assistant", "parts": ["two"], "finish_reason": "length"},
        ]
        event = read(gen_ai__operation__name="chat", gen_ai__output__messages=json.dumps(answers))

        assert event["outputs"]["content"] == "one"
        assert event["outputs"]["choices"] == [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "one"},
                "finish_reason": "stop",
            },
            {
                "index": 1,
                "message": {"role": "assistant", "content": "two"},
                "finish_reason": "length",
            },
        ]
        assert event["metadata"]["finish_reason"] == ["stop", "length"]

    def test_older_names_are_read(self) -> None:
        """
        One attribute a message, as OpenLLMetry has them; a number may be missing.
        """
        event = read(
            llm__request__type="chat",
            gen_ai__system="openai",
            gen_ai__request__model="gpt-4o",
            gen_ai__prompt__2__role="user",
            gen_ai__prompt__2__content="Where?",
            gen_ai__prompt__10__role="assistant",
            gen_ai__completion__0__role="assistant",
            gen_ai__completion__0__content="In Bern.",
            gen_ai__usage__prompt_tokens=3,
            gen_ai__usage__completion_tokens=4,
        )

        assert event["event_type"] == "model"
        assert [message["role"] for message in event["inputs"]["chat_history"]] == [
            "user",
            "assistant",
        ]
        assert event["outputs"] == {"role": "assistant", "content": "In Bern."}
        assert event["metadata"]["total_tokens"] == 7

    @pytest.mark.parametrize(
        ("operation", "kind"),
        [
            ("generate_content", "model"),
            ("embeddings", "tool"),
            ("invoke_agent", "chain"),
            ("execute_tool", "tool"),
            ("of tomorrow", "tool"),
        ],
    )
    def test_the_operation_decides_the_type(self, operation: str, kind: str) -> None:
        """
        As the vendor's table has it; one that is unknown is as none.
        """
        assert read(gen_ai__operation__name=operation)["event_type"] == kind

    def test_a_tool_has_arguments_and_a_result(self) -> None:
        """
        Both are JSON text, if they are objects.
        """
        event = read(
            gen_ai__operation__name="execute_tool",
            gen_ai__tool__name="find",
            gen_ai__tool__call__arguments='{"n": 7}',
            gen_ai__tool__call__result="Bern",
        )

        assert (event["inputs"], event["outputs"]) == ({"arguments": {"n": 7}}, {"result": "Bern"})
        assert event["metadata"]["tool_name"] == "find"

    def test_text_that_was_cut_is_kept(self) -> None:
        """
        A limit of the tracer makes JSON text which is none; it is a message all the same.
        """
        event = read(gen_ai__operation__name="chat", gen_ai__input__messages='[{"role": "us')

        assert event["inputs"]["chat_history"] == [{"content": '[{"role": "us'}]
        assert event["metadata"]["cut"] == ["messages"]

    def test_deep_text_is_read(self) -> None:
        """
        JSON may be as deep as it can be read, deeper than it can be written.
        """
        deep = '{"a":' * 1000 + "1" + "}" * 1000
        call = f'[{{"parts":[{{"type":"tool_call","name":"f","arguments":{deep}}}]}}]'
        event = read(
            gen_ai__output__messages=call,
            gen_ai__tool__call__result=deep,
            honeyhive_inputs__deep=deep,
            honeyhive_config=deep,
        )

        assert event["outputs"]["tool_calls"][0]["function"]["arguments"]["a"]["a"]
        assert event["outputs"]["result"]["a"]["a"]
        assert event["inputs"]["deep"]["a"]["a"]
        assert event["config"]["a"]["a"]

    def test_no_cost_is_told_of_what_has_no_usage(self) -> None:
        """
        An abandoned stream has a cost of 0.0 on it, which nobody knows.
        """
        assert "cost" not in read(operation__cost=0.0)["metadata"]
        priced = read(operation__cost=0.0, gen_ai__usage__input_tokens=1)
        assert priced["metadata"]["cost"] == 0.0

    def test_the_vendors_words_count_more(self) -> None:
        """
        Who enriches a span means it.
        """
        event = read(
            gen_ai__operation__name="chat",
            gen_ai__request__model="gpt-4o",
            gen_ai__provider__name="openai",
            honeyhive_event_type="chain",
            honeyhive_config__model="mine",
        )

        assert event["event_type"] == "chain"
        assert event["config"] == {"model": "mine", "provider": "openai"}
