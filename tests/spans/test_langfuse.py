"""
What becomes of langfuse's own spans.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.spans.test_mapping import event_of, span

OWN = "langfuse.observation"
ASKED = [{"role": "user", "content": "Where?"}]
CALL = {"name": "find", "arguments": '{"n": 7}'}
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
DEFAULTS = {
    "temperature": 1,
    "max_tokens": "Infinity",
    "top_p": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
}


def read(kind: str = "generation", **observed: Any) -> dict[str, Any]:
    """
    Make the event of an observation with *observed*, whose dots are two underscores.
    """
    named = {f"{OWN}.{name.replace('__', '.')}": value for name, value in observed.items()}
    return event_of(span(attributes={f"{OWN}.type": kind, **named}))


def said_of(event: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in event["metadata"].items()
        if name not in ("trace_id", "span_id")
    }


class TestGenerations:
    """
    Calls of a model.
    """

    def test_a_generation_is_a_model_event(self) -> None:
        """
        With all that was asked, what came back, and what it cost.
        """
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        attributes = {
            f"{OWN}.type": "generation",
            f"{OWN}.input": json.dumps(ASKED),
            f"{OWN}.output": '{"role": "assistant", "content": "In Bern."}',
            f"{OWN}.model.name": "gpt-4o-2024-08-06",
            f"{OWN}.model.parameters": json.dumps({**DEFAULTS, "temperature": 0.5, "seed": 7}),
            f"{OWN}.usage_details": json.dumps(usage),
            f"{OWN}.cost_details": '{"input": 0.25, "total": 0.75}',
            f"{OWN}.completion_start_time": '"2023-11-14T22:13:20.250000Z"',
            f"{OWN}.metadata.finish_reason": '"stop"',
            f"{OWN}.metadata.number": '"7"',
            f"{OWN}.metadata.ls_provider": '"google_genai"',
            f"{OWN}.prompt.name": "where",
            f"{OWN}.prompt.version": 3,
            "langfuse.trace.name": "travel",
            "langfuse.trace.tags": ["x", "y"],
            "langfuse.trace.metadata.tenant": '{"name": "a"}',
            "langfuse.environment": "production",
            "langfuse.release": "r1",
            "langfuse.internal.is_app_root": True,
            "session.id": "talk",
            "user.id": "u-7",
        }
        event = event_of(span(attributes=attributes))

        assert event["event_type"] == "model"
        assert event["inputs"]["chat_history"] == ASKED
        assert event["outputs"] == {"role": "assistant", "content": "In Bern."}
        assert event["config"] == {
            "model": "gpt-4o-2024-08-06",
            "provider": "google",
            "hyperparameters": {"temperature": 0.5, "seed": 7},
        }
        assert event["source"] == "production"
        assert event["user_properties"] == {"user_id": "u-7"}
        assert event["metrics"] == {"time_to_first_token": 250}
        assert said_of(event) == {
            "session_key": "talk",
            "tenant": {"name": "a"},
            "finish_reason": "stop",
            "number": "7",
            "ls_provider": "google_genai",
            "prompt_name": "where",
            "prompt_version": 3,
            "trace_name": "travel",
            "tags": ["x", "y"],
            "release": "r1",
            **usage,
            "cost": 0.75,
            "cost_source": "span",
            "cost_details": {"input": 0.25, "total": 0.75},
        }

    @pytest.mark.parametrize(
        ("given", "inputs"),
        [
            ("Where?", {"chat_history": ASKED}),
            ('"Where?"', {"chat_history": [{"role": "user", "content": '"Where?"'}]}),
            ('{"input": "Where?"}', {"chat_history": ASKED}),
            (
                json.dumps({"instructions": "Be kind.", "input": ASKED}),
                {"chat_history": [{"role": "system", "content": "Be kind."}, *ASKED]},
            ),
            ('{"args": [], "kwargs": {"n": 7}}', {"args": [], "kwargs": {"n": 7}}),
            ('{"input": "Where?", "other": 1}', {"input": "Where?", "other": 1}),
            ("[1, 2]", {"input": [1, 2]}),
            ("[]", {"input": []}),
            (
                json.dumps({"messages": ASKED, "other": 1}),
                {"chat_history": ASKED, "other": 1},
            ),
        ],
    )
    def test_whatever_was_given_is_kept(self, given: str, inputs: dict[str, Any]) -> None:
        """
        As messages, if it is what a model is asked; else as it is.
        """
        assert read(input=given)["inputs"] == inputs

    def test_tools_come_with_the_messages(self) -> None:
        """
        With what the model should do with them, in the forms of either API.
        """
        chat = read(input=json.dumps({"messages": ASKED, "tools": [TOOL], "function_call": "auto"}))
        flat = {"type": "function", "name": "find", "parameters": {"type": "object"}}
        given = {
            "input": ASKED,
            "tools": [flat],
            "tool_choice": "required",
            "parallel_tool_calls": False,
        }
        items = read(input=json.dumps(given), model__name="m")

        assert (chat["config"]["tools"], chat["config"]["tool_choice"]) == ([TOOL], "auto")
        assert items["config"] == {
            "model": "m",
            "tools": [TOOL],
            "tool_choice": "required",
            "hyperparameters": {"parallel_tool_calls": False},
        }

    @pytest.mark.parametrize(
        ("result", "outputs"),
        [
            ("In Bern.", {"content": "In Bern."}),
            ('{"city": "Bern"}', {"content": '{"city": "Bern"}'}),
            ('["Bern"]', {"content": '["Bern"]'}),
            ('{"content": "In Bern."}', {"content": "In Bern."}),
            (
                json.dumps({"role": "assistant", "content": None, "tool_calls": [{**CALL}]}),
                {"tool_calls": [{"type": "function", "function": CALL}]},
            ),
            (
                json.dumps([{"type": "function_call", "call_id": "c1", **CALL}]),
                {"tool_calls": [{"id": "c1", "type": "function", "function": CALL}]},
            ),
            (
                json.dumps(
                    [
                        {"type": "reasoning", "summary": [{"text": "Look it up."}]},
                        {
                            "type": "message",
                            "content": [{"type": "output_text", "text": "In Bern."}],
                        },
                    ]
                ),
                {"content": "In Bern.", "reasoning_content": "Look it up."},
            ),
        ],
    )
    def test_whatever_came_back_is_the_answer(self, result: str, outputs: dict[str, Any]) -> None:
        """
        A message, items of OpenAI Responses, or else text: JSON that a model answers is text.
        """
        assert read(output=result)["outputs"] == {"role": "assistant", **outputs}

    def test_items_of_openai_responses_are_messages(self) -> None:
        """
        Calls of tools and their results, among the messages of a chat.
        """
        items = [
            *ASKED,
            {"type": "function_call", "call_id": "c1", **CALL},
            {"type": "function_call_output", "call_id": "c1", "output": "Bern"},
        ]

        assert read(input=json.dumps({"input": items}))["inputs"]["chat_history"] == [
            *ASKED,
            {
                "role": "assistant",
                "tool_calls": [{"id": "c1", "type": "function", "function": CALL}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "Bern"},
        ]

    def test_a_streamed_response_is_no_metadata(self) -> None:
        """
        The client has all of a response of OpenAI Responses there, if it was streamed.
        """
        response = {
            "object": "response",
            "id": "resp_7",
            "status": "completed",
            "instructions": "Be kind.",
            "temperature": 0.5,
            "tool_choice": "auto",
            "tools": [],
            "metadata": {},
        }
        named = {f"metadata__{name}": json.dumps(value) for name, value in response.items()}
        event = read(**named, output="In Bern.")

        assert event["config"] == {
            "model": "unknown",
            "hyperparameters": {"temperature": 0.5},
            "tool_choice": "auto",
        }
        assert said_of(event) == {
            "response_id": "resp_7",
            "finish_reason": "stop",
            "status": "completed",
        }

    def test_several_messages_are_choices(self) -> None:
        """
        The first of them is the answer.
        """
        answers = [{"role": "assistant", "content": text} for text in ("one", "two")]
        outputs = read(output=json.dumps(answers))["outputs"]

        assert outputs["content"] == "one"
        assert [one["message"]["content"] for one in outputs["choices"]] == ["one", "two"]

    def test_calls_of_langchain_are_as_others(self) -> None:
        """
        Which its messages have in a form of their own.
        """
        call = {"name": "find", "args": {"n": 7}, "id": "c1", "type": "tool_call"}
        event = read(output=json.dumps({"role": "assistant", "content": "", "tool_calls": [call]}))

        assert event["outputs"]["tool_calls"] == [
            {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"n":7}'}}
        ]

    @pytest.mark.parametrize(
        ("usage", "tokens"),
        [
            (
                {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 8}},
                {"prompt_tokens": 10, "cache_read_tokens": 8},
            ),
            (
                {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
                {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            ),
            (
                {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 80},
                {
                    "prompt_tokens": 90,
                    "completion_tokens": 5,
                    "total_tokens": 95,
                    "cache_read_tokens": 80,
                },
            ),
            ({"promptTokenCount": 10}, {"prompt_tokens": 10}),
            (
                {
                    "input": 200,
                    "input_cache_read": 800,
                    "output": 100,
                    "output_reasoning": 200,
                    "total": 1300,
                },
                {
                    "prompt_tokens": 1000,
                    "completion_tokens": 300,
                    "total_tokens": 1300,
                    "cache_read_tokens": 800,
                    "reasoning_tokens": 200,
                },
            ),
            (
                {"input": 1000, "output": 300, "total": 1300, "input_cached_tokens": 800},
                {
                    "prompt_tokens": 1000,
                    "completion_tokens": 300,
                    "total_tokens": 1300,
                    "cache_read_tokens": 800,
                },
            ),
            (
                {"input": 10, "output": 2, "cache_creation_input_tokens": 5, "odd": "x"},
                {
                    "prompt_tokens": 15,
                    "completion_tokens": 2,
                    "total_tokens": 17,
                    "cache_write_tokens": 5,
                    "odd": "x",
                },
            ),
        ],
    )
    def test_usage_has_the_words_of_others(
        self, usage: dict[str, Any], tokens: dict[str, Any]
    ) -> None:
        """
        Of whichever provider it is, or in langfuse's own words, whose parts add up.
        """
        said = said_of(read(usage_details=json.dumps(usage)))

        assert {name: said[name] for name in tokens} == tokens

    def test_parameters_that_nobody_asked_for_are_none(self) -> None:
        """
        The client fills in its defaults, each time all of them; who sets one means it.
        """
        filled = read(model__parameters=json.dumps({**DEFAULTS, "service_tier": "flex"}))
        meant = read(model__parameters='{"temperature": 1, "max_tokens": 100}')

        assert filled["config"] == {"model": "unknown", "provider": "openai"}
        assert filled["metadata"]["service_tier"] == "flex"
        assert meant["config"]["hyperparameters"] == {"temperature": 1, "max_tokens": 100}

    def test_an_error_has_its_message(self) -> None:
        """
        A cost of zero is none, if nobody knows what was used.
        """
        event = read(
            level="ERROR",
            status_message="no answer",
            cost_details='{"input": 0, "output": 0, "total": 0}',
        )
        warned = read(level="WARNING", status_message="slow")

        assert event["error"] == "no answer"
        assert said_of(event) == {}
        assert "error" not in warned
        assert said_of(warned) == {"level": "WARNING", "status_message": "slow"}

    @pytest.mark.parametrize(
        "time", ["", '"soon"', '"2023-11-14T22:13:19Z"', '"2024-11-14T22:13:20Z"', "7"]
    )
    def test_a_time_that_cant_be_is_kept(self, time: str) -> None:
        """
        Under the name that it has: before the call began, after it ended, or none.
        """
        event = read(completion_start_time=time)

        assert "metrics" not in event
        assert event["metadata"][f"{OWN}.completion_start_time"] == time

    def test_text_that_was_cut_is_kept(self) -> None:
        """
        A limit of the tracer makes JSON text which is none; text that only looks like it is text.
        """
        event = read(input='[{"role": "us', output='{"role": "assis')

        assert event["inputs"]["chat_history"] == [{"role": "user", "content": '[{"role": "us'}]
        assert event["outputs"]["content"] == '{"role": "assis'
        assert event["metadata"]["cut"] == ["messages", "response"]
        assert "cut" not in read(input="[1] Where?")["metadata"]


class TestSteps:
    """
    Observations that are no calls of a model.
    """

    @pytest.mark.parametrize(
        ("kind", "type_"),
        [
            ("generation", "model"),
            ("span", "chain"),
            ("agent", "chain"),
            ("chain", "chain"),
            ("tool", "tool"),
            ("retriever", "tool"),
            ("evaluator", "tool"),
            ("guardrail", "tool"),
            ("embedding", "tool"),
            ("event", "tool"),
            ("of tomorrow", "tool"),
        ],
    )
    def test_the_observation_decides_the_type(self, kind: str, type_: str) -> None:
        """
        Its own type is kept, where the API has none for it.
        """
        event = read(kind)

        assert event["event_type"] == type_
        assert event["metadata"].get("observation_type", type_) in (kind, "model")

    def test_a_step_has_inputs_and_a_result(self) -> None:
        """
        JSON objects are what they are; anything else has a name.
        """
        event = read("tool", input='{"n": 7}', output="Bern", metadata='"a"')
        listed = read("span", input="Where?", output="[1]")

        assert (event["inputs"], event["outputs"]) == ({"n": 7}, {"result": "Bern"})
        assert event["metadata"]["metadata"] == "a"
        assert (listed["inputs"], listed["outputs"]) == ({"input": "Where?"}, {"result": [1]})

    def test_an_embedding_has_its_model_and_its_usage(self) -> None:
        """
        As it is no call that answers.
        """
        event = read(
            "embedding",
            model__name="e-3",
            input="one",
            output='{"dimensions": 3, "count": 1}',
            usage_details='{"input": 8}',
        )

        assert event["config"] == {"model": "e-3"}
        assert event["outputs"] == {"dimensions": 3, "count": 1}
        assert event["metadata"]["prompt_tokens"] == 8
