"""
What becomes of spans of OpenTelemetry's own packages, OpenLLMetry, pydantic-ai, LiteLLM and the
anthropic client, each of which writes the same attributes in its own way.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from hh_exporter._spans.mapping import MARKS, kind_of
from tests.spans.test_mapping import event_of, span

Json = dict[str, Any]

OTEL = "opentelemetry.instrumentation.genai.openai"
OTEL_LANGCHAIN = "opentelemetry.instrumentation.genai.langchain"
OPENLLMETRY = "opentelemetry.instrumentation.openai.v1"
ANTHROPIC = "com.anthropic.sdk.python"
PYDANTIC_AI = "pydantic-ai"
LITELLM = "litellm"
EARLY = {"gen_ai.response.finish_reasons": ["error"]}
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}}
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "look_up", "arguments": '{"place":"Bern"}'},
}
COUNTED = {
    "gen_ai.usage.input_tokens": 950,
    "gen_ai.usage.output_tokens": 30,
    "gen_ai.usage.cache_read.input_tokens": 800,
}


def read(
    attributes: Json, operation: str | None = "chat", scope: str = OTEL, **fields: Any
) -> Json:
    """
    Make the event of a span of *operation*; attributes that are no text become JSON text.
    """
    own = {"gen_ai.operation.name": operation} if operation else {}
    texts = {
        name: json.dumps(value) if isinstance(value, list | dict) else value
        for name, value in attributes.items()
    }
    return event_of(span(attributes={**own, **texts}, scope=scope, **fields))


def message(role: str, *parts: Any, **others: Any) -> Json:
    return {"role": role, "parts": list(parts), **others}


def text(content: str) -> Json:
    return {"type": "text", "content": content}


def called(arguments: Any, **others: Any) -> Json:
    return {"type": "tool_call", "id": "c1", "name": "look_up", "arguments": arguments, **others}


def answered(*messages: Json) -> Json:
    outputs: Json = read({"gen_ai.output.messages": list(messages)})["outputs"]
    return outputs


def asked(*messages: Json, **attributes: Any) -> list[Json]:
    """
    Make the chat of *messages*.
    """
    chat: list[Json] = read({"gen_ai.input.messages": list(messages), **attributes})["inputs"][
        "chat_history"
    ]
    return chat


class TestMessages:
    """
    What was asked and answered.
    """

    @pytest.mark.parametrize(
        "written",
        [
            called({"place": "Bern"}),
            called('{"place":"Bern"}'),
            called({"place": "Bern"}, name="look_up"),
        ],
    )
    def test_arguments_are_text(self, written: Json) -> None:
        """
        OpenTelemetry's packages have an object, pydantic-ai has text inside the JSON.
        """
        assert answered(message("assistant", written)) == {
            "role": "assistant",
            "tool_calls": [CALL],
        }

    @pytest.mark.parametrize("nothing", [None, "", {}])
    def test_no_arguments_are_an_empty_object(self, nothing: object) -> None:
        """
        As a tool without parameters is called.
        """
        [call] = answered(message("assistant", called(nothing, id="")))["tool_calls"]

        assert call == {
            "type": "function",
            "function": {"name": "look_up", "arguments": "{}"},
        }

    @pytest.mark.parametrize(
        "result",
        [
            {"response": "21 degrees"},
            {"result": "21 degrees"},
            {"response": [{"type": "text", "text": "21 degrees"}]},
            {"result": "21 degrees", "name": "look_up"},
        ],
    )
    def test_results_of_tools_are_messages_of_their_own(self, result: Json) -> None:
        """
        Also inside the message of a user, as Anthropic's API and pydantic-ai have them.
        """
        part = {"type": "tool_call_response", "id": "c1", **result}
        chat = asked(
            message("assistant", called({"place": "Bern"}), name=None, finish_reason="tool_call"),
            message("user", part, text("And now?")),
        )

        assert chat == [
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "21 degrees"},
            {"role": "user", "content": "And now?"},
        ]

    def test_a_result_without_its_call_has_its_name(self) -> None:
        """
        It would be lost otherwise.
        """
        part = {"type": "tool_call_response", "id": "c1", "name": "look_up", "result": {"n": 1}}

        assert asked(message("tool", part)) == [
            {"role": "tool", "tool_call_id": "c1", "content": '{"n":1}', "name": "look_up"}
        ]

    @pytest.mark.parametrize("kind", ["reasoning", "thinking"])
    def test_thoughts_are_apart_from_the_text(self, kind: str) -> None:
        """
        Wherever they stand among the parts.
        """
        thought = {"type": kind, "content": "Look it up."}

        assert answered(message("assistant", text("In Bern."), thought)) == {
            "role": "assistant",
            "content": "In Bern.",
            "reasoning_content": "Look it up.",
        }

    def test_what_signs_a_thought_is_kept(self) -> None:
        """
        As that of a client's response is.
        """
        thought = {"type": "thinking", "content": "Look it up.", "signature": "s"}

        assert answered(message("assistant", thought))["thinking_blocks"] == [
            {"type": "thinking", "signature": "s"}
        ]

    def test_texts_of_a_user_stay_apart(self) -> None:
        """
        Those of an assistant are one text, as in a client's response.
        """
        texts = (text("Where"), text("is it?"))

        assert asked(message("user", *texts), message("model", *texts)) == [
            {
                "role": "user",
                "content": [{"type": "text", "text": "Where"}, {"type": "text", "text": "is it?"}],
            },
            {"role": "assistant", "content": "Whereis it?"},
        ]

    @pytest.mark.parametrize(
        ("role", "known"), [("model", "assistant"), ("unknown", "assistant"), ("human", "user")]
    )
    def test_roles_have_one_name(self, role: str, known: str) -> None:
        """
        OpenLLMetry says "unknown" of a stream of LangChain.
        """
        assert asked(message(role, text("Hello")))[0]["role"] == known

    @pytest.mark.parametrize(
        "instructions",
        ["Be short.", ["Be short."], [text("Be short.")], [message("system", text("Be short."))]],
    )
    def test_instructions_come_first(self, instructions: Any) -> None:
        """
        Anthropic's API has them apart from the messages.
        """
        chat = asked(
            message("user", text("Where?")), **{"gen_ai.system_instructions": instructions}
        )

        assert chat == [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Where?"},
        ]

    def test_litellm_has_calls_beside_the_parts(self) -> None:
        """
        What was called before as members of the message, and what is called now as attributes.
        """
        event = read(
            {
                "gen_ai.input.messages": [
                    {"role": "assistant", "parts": [], "tool_calls": [CALL]},
                    {"role": "tool", "parts": [text("21 degrees")], "tool_call_id": "c1"},
                ],
                "gen_ai.output.messages": [message("assistant", finish_reason="tool_calls")],
                "gen_ai.completion.0.function_call.name": "look_up",
                "gen_ai.completion.0.function_call.arguments": '{"place":"Bern"}',
                "gen_ai.completion.1.function_call.name": "look_up",
                "gen_ai.completion.1.function_call.arguments": '{"place":"Rome"}',
                "gen_ai.response.finish_reasons": '["tool_calls"]',
            }
        )

        assert event["inputs"]["chat_history"] == [
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "content": "21 degrees", "tool_call_id": "c1"},
        ]
        calls = event["outputs"]["tool_calls"]
        assert [call["function"]["arguments"] for call in calls] == [
            '{"place":"Bern"}',
            '{"place":"Rome"}',
        ]
        assert event["metadata"]["finish_reason"] == "tool_calls"

    def test_items_of_one_answer_are_one_message(self) -> None:
        """
        LiteLLM has those of OpenAI Responses as messages without a finish reason.
        """
        event = read(
            {
                "gen_ai.output.messages": [
                    message("assistant", text("I look it up.")),
                    message("assistant", called({"place": "Bern"})),
                ],
                "gen_ai.completion.0.function_call.name": "look_up",
                "gen_ai.response.finish_reasons": '["completed"]',
            },
            operation="responses",
            scope=LITELLM,
        )

        assert event["event_type"] == "model"
        assert event["outputs"] == {
            "role": "assistant",
            "content": "I look it up.",
            "tool_calls": [CALL],
        }
        assert event["metadata"]["finish_reason"] == "tool_calls"

    def test_an_answer_may_be_missing(self) -> None:
        """
        The anthropic client has none of a stream.
        """
        event = read(
            {"anthropic.message.stop_reason": "end_turn", "gen_ai.request.stream": True},
            scope=ANTHROPIC,
        )

        assert "outputs" not in event
        assert event["metadata"]["finish_reason"] == "stop"
        assert event["config"]["hyperparameters"] == {"stream": True}

    @pytest.mark.parametrize(
        ("name", "part"),
        [
            ("gen_ai.input.messages", "messages"),
            ("gen_ai.system_instructions", "messages"),
            ("gen_ai.output.messages", "response"),
            ("gen_ai.tool.definitions", "tools"),
        ],
    )
    def test_what_was_cut_short_is_sent_as_text(self, name: str, part: str) -> None:
        """
        By OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT, which leaves no mark on the span.
        """
        cut = '[{"role": "us'
        event = read({name: cut})

        found = {
            "messages": event["inputs"].get("chat_history"),
            "response": event.get("outputs"),
            "tools": event["config"].get("tools"),
        }[part]
        assert found in ([{"content": cut}], {"content": cut})
        assert event["metadata"]["cut"] == [part]
        assert name not in event["metadata"]


class TestUsage:
    """
    Token counts and cost.
    """

    @pytest.mark.parametrize(
        "names",
        [
            {"gen_ai.usage.cache_write.input_tokens": 50},
            {"gen_ai.usage.cache_creation.input_tokens": 50},
            {
                "gen_ai.usage.cache_creation.input_tokens": 50,
                "gen_ai.usage.details.cache_write_tokens": 50,
                "gen_ai.usage.details.cache_creation_input_tokens": 50,
            },
        ],
    )
    def test_the_cache_is_inside_the_prompt(self, names: Json) -> None:
        """
        In each family: it is never added, and what is said twice is sent once.
        """
        metadata = read({**COUNTED, **names})["metadata"]

        counts = {name: count for name, count in metadata.items() if "tokens" in name}
        assert counts == {
            "prompt_tokens": 950,
            "completion_tokens": 30,
            "total_tokens": 980,
            "cache_read_tokens": 800,
            "cache_write_tokens": 50,
        }

    @pytest.mark.parametrize(
        "name",
        [
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "gen_ai.usage.details.reasoning_tokens",
            "gen_ai.usage.details.thoughts_tokens",
        ],
    )
    def test_reasoning_has_one_name(self, name: str) -> None:
        """
        Of four.
        """
        assert read({name: 20})["metadata"]["reasoning_tokens"] == 20

    def test_what_is_missing_is_not_zero(self) -> None:
        """
        OpenLLMetry writes null; a prompt has tokens, whatever langchain-anthropic counts.
        """
        event = read({"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 30})
        nothing = read({"gen_ai.usage.input_tokens": None, "gen_ai.usage.total_tokens": None})

        counts = {name: value for name, value in event["metadata"].items() if "tokens" in name}
        assert counts == {"completion_tokens": 30}
        assert not [name for name in nothing["metadata"] if "tokens" in name]

    def test_the_sum_of_an_agent_is_no_usage(self) -> None:
        """
        Or each token would count twice.
        """
        event = read({"gen_ai.aggregated_usage.input_tokens": 9}, operation="invoke_agent")

        assert event["metadata"]["gen_ai.aggregated_usage.input_tokens"] == 9
        assert "prompt_tokens" not in event["metadata"]

    def test_litellm_has_details_as_python_text(self) -> None:
        """
        They have the names that its own response's usage gets.
        """
        usage = {
            "completion_tokens": 30,
            "prompt_tokens": 950,
            "total_tokens": 980,
            "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": None},
            "prompt_tokens_details": {"cached_tokens": 800, "cache_write_tokens": 50},
            "cost": 0.5,
        }
        event = read(
            {**COUNTED, "metadata.usage_object": repr(usage), "metadata.team_id": ""},
            scope=LITELLM,
        )

        metadata = event["metadata"]
        assert (metadata["cache_write_tokens"], metadata["reasoning_tokens"]) == (50, 20)
        assert metadata["completion_tokens_details"] == {"reasoning_tokens": 20}
        assert not {"metadata.usage_object", "metadata.team_id", "cost"} & metadata.keys()

    @pytest.mark.parametrize("odd", ["{'a': <object>}", "{", "[]", 7])
    def test_other_text_of_litellm_stays(self, odd: object) -> None:
        """
        It is no usage.
        """
        event = read({"metadata.usage_object": odd}, scope=LITELLM)

        assert event["metadata"]["metadata.usage_object"] in (odd, json.dumps(odd))

    @pytest.mark.parametrize("name", ["operation.cost", "gen_ai.cost.total_cost"])
    def test_a_cost_says_where_it_is_from(self, name: str) -> None:
        """
        So that it differs from one that is computed.
        """
        priced = read({**COUNTED, name: 0.25})["metadata"]
        unknown = read({name: 0.0})["metadata"]

        assert (priced["cost"], priced["cost_source"]) == (0.25, "span")
        assert not {"cost", "cost_source", name} & unknown.keys()


class TestCall:
    """
    What else is said of a call of a model.
    """

    @pytest.mark.parametrize(
        "place",
        [
            {"server.address": "api.deepseek.com"},
            {"gen_ai.openai.api_base": "https://api.deepseek.com/v1/"},
            {"hidden_params": {"api_base": "https://api.deepseek.com/v1"}},
        ],
    )
    def test_the_host_says_who_answered(self, place: Json) -> None:
        """
        Whatever the instrumentation of the client claims.
        """
        event = read({"gen_ai.provider.name": "openai", **place})

        assert event["config"]["provider"] == "deepseek"
        assert place.keys() <= event["metadata"].keys()

    def test_parameters_are_those_of_the_request(self) -> None:
        """
        None of what is null.
        """
        event = read(
            {
                "gen_ai.request.temperature": 0.5,
                "gen_ai.request.top_p": None,
                "gen_ai.request.choice.count": 2,
                "gen_ai.request.reasoning.level": "low",
                "anthropic.thinking.type": "enabled",
                "anthropic.thinking.budget_tokens": 1024,
            }
        )

        assert event["config"]["hyperparameters"] == {
            "temperature": 0.5,
            "n": 2,
            "reasoning_effort": "low",
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        }

    @pytest.mark.parametrize(
        ("attributes", "form"),
        [
            ({"gen_ai.output.type": "json"}, {"type": "json"}),
            (
                {"gen_ai.request.structured_output_schema": SCHEMA},
                {"type": "json_schema", "json_schema": {"schema": SCHEMA}},
            ),
        ],
    )
    def test_the_form_of_the_answer_is_kept(self, attributes: Json, form: Json) -> None:
        """
        With the schema, where it is on the span.
        """
        assert read(attributes)["config"]["response_format"] == form

    def test_pydantic_ai_has_the_schema_in_its_parameters(self) -> None:
        """
        Under a name of its own.
        """
        parameters = {
            "function_tools": [],
            "output_object": {"json_schema": SCHEMA, "name": "place", "strict": None},
        }
        packed = json.dumps(parameters, separators=(",", ":"))
        event = read({"model_request_parameters": packed}, scope=PYDANTIC_AI)

        assert event["config"]["response_format"] == {
            "type": "json_schema",
            "json_schema": {"name": "place", "schema": SCHEMA},
        }

    @pytest.mark.parametrize(
        "name",
        ["gen_ai.response.time_to_first_chunk", "gen_ai.client.operation.time_to_first_chunk"],
    )
    def test_the_first_token_is_timed(self, name: str) -> None:
        """
        In milliseconds, as for a stream of `record`.
        """
        event = read({name: 0.25, "gen_ai.response.finish_reasons": ["stop"]})

        assert event["metrics"] == {"time_to_first_token": 250.0}
        assert event["config"]["hyperparameters"] == {"stream": True}

    def test_sessions_and_users_are_found(self) -> None:
        """
        The first of those that there are; another one stays in the metadata.
        """
        event = read(
            {
                "gen_ai.conversation.id": "talk",
                "session.id": "other",
                "traceloop.association.properties.thread_id": "thread",
                "gen_ai.user": "u",
                "llm.user": "u",
            }
        )

        assert event["metadata"]["session_key"] == "talk"
        assert event["metadata"]["session.id"] == "other"
        assert event["user_properties"] == {"user_id": "u"}
        assert "llm.user" not in event["metadata"]

    def test_nothing_is_said_twice(self) -> None:
        """
        An attribute of another type than it should be stays under its name.
        """
        event = read({"gen_ai.request.model": 4, "gen_ai.usage.input_tokens": "many"})

        assert event["config"]["model"] == "unknown"
        assert event["metadata"]["gen_ai.request.model"] == 4
        assert event["metadata"]["gen_ai.usage.input_tokens"] == "many"

    def test_a_stored_answer_that_is_read_is_no_call(self) -> None:
        """
        OpenLLMetry makes a second span of it, with the usage of the first.
        """
        answer = {"gen_ai.response.model": "gpt-4o-2024-08-06", "gen_ai.response.id": "r"}
        called = {"gen_ai.request.model": "gpt-4o", **answer}

        assert read(answer, scope=OPENLLMETRY)["event_type"] == "tool"
        assert read(called, scope=OPENLLMETRY)["event_type"] == "model"
        agents = "opentelemetry.instrumentation.openai_agents"
        assert read(answer, scope=agents)["event_type"] == "model"

    def test_a_call_may_have_no_operation(self) -> None:
        """
        OpenLLMetry leaves it out if a stream of OpenAI Responses dies.
        """
        attributes = {"gen_ai.is_streaming": True, "gen_ai.request.model": "gpt-4o"}

        assert not set(MARKS).isdisjoint(attributes)
        assert kind_of(attributes) == "model"
        assert read(attributes, operation=None)["event_type"] == "model"


class TestEndings:
    """
    How calls end.
    """

    @pytest.mark.parametrize(
        ("scope", "attributes", "fields", "stream"),
        [
            (OTEL, {"gen_ai.response.finish_reasons": ["stop"]}, {}, None),
            (OTEL, {"gen_ai.response.finish_reasons": ["error"]}, {}, "stopped"),
            (OTEL, {}, {"is_error": True, "description": "abandoned stream"}, "stopped"),
            (OTEL_LANGCHAIN, {"error.type": "GeneratorExit"}, {"is_error": True}, "stopped"),
            (OTEL_LANGCHAIN, {"gen_ai.response.finish_reasons": ["error"]}, {}, None),
            (
                OTEL,
                {"error.type": "asyncio.exceptions.CancelledError", **EARLY},
                {"is_error": True},
                "cancelled",
            ),
            (
                OPENLLMETRY,
                {"gen_ai.output.messages": [message("assistant", text("In"), finish_reason="")]},
                {},
                "incomplete",
            ),
            (PYDANTIC_AI, {}, {}, "incomplete"),
            (ANTHROPIC, {}, {}, "incomplete"),
        ],
    )
    def test_that_a_stream_is_left_is_no_error(
        self, scope: str, attributes: Json, fields: Json, stream: str | None
    ) -> None:
        """
        Whether its reader stopped it or was cancelled; not each family says which.
        """
        streamed = {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": 0.1}
        event = read({**streamed, **attributes}, scope=scope, **fields)

        assert event["metadata"].get("stream") == stream
        assert "error" not in event
        assert event["metadata"].get("finish_reason") in (None, "stop")
        assert not {"error.type", "error_type"} & event["metadata"].keys()

    def test_a_stream_that_dies_has_an_error(self) -> None:
        """
        One that never began has no more than that.
        """
        failed: Json = {"is_error": True, "description": "gone"}
        began = read({"gen_ai.response.time_to_first_chunk": 0.1}, **failed)
        refused = read({"gen_ai.request.stream": True}, **failed)

        assert (began["error"], began["metadata"]["stream"]) == ("gone", "failed")
        assert refused["error"] == "gone"
        assert "stream" not in refused["metadata"]

    def test_a_call_that_is_cancelled_has_the_error_of_a_block(self) -> None:
        """
        As `record` has it.
        """
        cancelled = {"error.type": "asyncio.exceptions.CancelledError"}
        event = read(cancelled, is_error=True)

        assert event["error"] == "cancelled"
        assert "error_type" not in event["metadata"]

    @pytest.mark.parametrize(
        ("attributes", "fields"),
        [
            ({"error.type": "openai.BadRequestError"}, {"description": "no such parameter"}),
            (
                {"error.type": "BadRequestError"},
                {
                    "description": "Traceback …",
                    "exception": {
                        "exception.type": "openai.BadRequestError",
                        "exception.message": "no such parameter",
                    },
                },
            ),
            (
                {"error.type": "openai.BadRequestError", "error.message": "no such parameter"},
                {},
            ),
        ],
    )
    def test_an_error_has_a_text_and_a_type(self, attributes: Json, fields: Json) -> None:
        """
        Wherever a family has them.
        """
        event = read(attributes, is_error=True, **fields)

        assert event["error"] == "no such parameter"
        assert event["metadata"]["error_type"] == "openai.BadRequestError"
        assert not attributes.keys() & event["metadata"].keys()

    def test_an_error_may_be_a_type_alone(self) -> None:
        """
        As of the anthropic client.
        """
        event = read({"error.type": "invalid_request_error"}, scope=ANTHROPIC, is_error=True)

        assert event["error"] == "invalid_request_error"
        assert "error_type" not in event["metadata"]


class TestSteps:
    """
    Tools, agents and workflows.
    """

    @pytest.mark.parametrize(
        ("operation", "name", "attributes", "known"),
        [
            ("execute_tool", "execute_tool look_up", {"gen_ai.tool.name": "look_up"}, "look_up"),
            ("execute_tool", "look_up.tool", {"gen_ai.tool.name": "look_up"}, "look_up"),
            ("invoke_agent", "invoke_agent geo", {"gen_ai.agent.name": "geo"}, "geo"),
            ("invoke_workflow", "invoke_workflow w", {"gen_ai.workflow.name": "w"}, "w"),
            (None, "my chain.workflow", {"traceloop.entity.name": "my chain"}, "my chain"),
            ("execute_tool", "mine", {"gen_ai.tool.name": "look_up"}, "mine"),
            ("chat", "chat geo", {"gen_ai.agent.name": "geo"}, "chat geo"),
        ],
    )
    def test_steps_are_called_after_what_they_run(
        self, operation: str | None, name: str, attributes: Json, known: str
    ) -> None:
        """
        Unless the program gave the span another name; a call of a model keeps its span's.
        """
        assert read(attributes, operation=operation, name=name)["event_name"] == known

    def test_a_workflow_has_inputs_and_outputs(self) -> None:
        """
        OpenLLMetry says each twice.
        """
        event = read(
            {
                "traceloop.span.kind": "workflow",
                "traceloop.entity.path": "",
                "traceloop.entity.input": {"inputs": {"n": 1}},
                "gen_ai.task.input": {"inputs": {"n": 1}},
                "traceloop.entity.output": [1],
                "gen_ai.task.output": [1],
            },
            operation=None,
        )

        assert event["event_type"] == "chain"
        assert (event["inputs"], event["outputs"]) == ({"inputs": {"n": 1}}, {"output": [1]})
        assert event["metadata"]["operation"] == "workflow"

    def test_an_agent_of_pydantic_ai_has_its_conversation(self) -> None:
        """
        What came before the last answer went in.
        """
        event = read(
            {
                "gen_ai.agent.name": "geo",
                "agent_name": "geo",
                "model_name": "gpt-4o",
                "gen_ai.system_instructions": [text("Be short.")],
                "pydantic_ai.all_messages": [
                    message("user", text("Where?")),
                    message("assistant", text("In Bern."), finish_reason="stop"),
                ],
                "final_result": {"place": "Bern"},
                "logfire.msg": "geo run",
                "logfire.json_schema": "{}",
            },
            operation="invoke_agent",
            scope=PYDANTIC_AI,
        )

        assert event["inputs"]["chat_history"] == [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Where?"},
        ]
        assert event["outputs"] == {
            "role": "assistant",
            "content": "In Bern.",
            "result": {"place": "Bern"},
        }
        assert event["config"]["model"] == "gpt-4o"
        own = {"operation", "finish_reason", "agent_name", "scope", "trace_id", "span_id"}
        assert event["metadata"].keys() == own

    def test_a_search_has_a_query_and_documents(self) -> None:
        """
        It is no call of a model.
        """
        event = read(
            {
                "gen_ai.retrieval.query.text": "Where?",
                "gen_ai.retrieval.documents": [{"id": "d1"}],
            },
            operation="retrieval",
        )

        assert event["event_type"] == "tool"
        assert event["inputs"] == {"query": "Where?"}
        assert event["outputs"] == {"documents": [{"id": "d1"}]}
