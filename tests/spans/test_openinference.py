"""
What becomes of spans of OpenInference's instrumentations.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from hh_exporter._spans.mapping import kind_of
from tests.spans.test_mapping import event_of, span

KIND = "openinference.span.kind"
CALL: dict[str, Any] = {
    KIND: "LLM",
    "llm.system": "openai",
    "llm.model_name": "gpt-4o-2024-08-06",
    "llm.invocation_parameters": '{"model": "gpt-4o", "temperature": 0.2}',
    "llm.input_messages.0.message.role": "user",
    "llm.input_messages.0.message.content": "Where?",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.content": "In Bern.",
    "llm.finish_reason": "stop",
}
IDS = {"trace_id", "span_id"}


def read(attributes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """
    Make the event of a span with *attributes*, and *more*, whose dots are two underscores.
    """
    dotted = {name.replace("__", "."): value for name, value in more.items()}
    return event_of(span(attributes={**attributes, **dotted}))


def said_of(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event["metadata"].items() if name not in IDS}


def fields(prefix: str, *messages: dict[str, Any]) -> dict[str, Any]:
    return {
        f"llm.{prefix}_messages.{number}.{name}": value
        for number, message in enumerate(messages)
        for name, value in message.items()
    }


def call_fields(place: str, call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {
        f"{place}.tool_call.id": call_id,
        f"{place}.tool_call.function.name": name,
        f"{place}.tool_call.function.arguments": arguments,
    }


def parts(*contents: dict[str, Any]) -> dict[str, Any]:
    return {
        f"message.contents.{number}.message_content.{name}": value
        for number, content in enumerate(contents)
        for name, value in content.items()
    }


class TestCalls:
    """
    Calls of a model.
    """

    def test_a_call_is_a_model_event(self) -> None:
        """
        With all that was asked, what came back, and what it cost.
        """
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
        tool = {"type": "function", "function": {"name": "find", "parameters": schema}}
        event = read(
            CALL,
            llm__provider="openai",
            llm__token_count__prompt=1000,
            llm__token_count__completion=300,
            llm__token_count__prompt_details__cache_read=800,
            llm__token_count__prompt_details__cache_write=50,
            llm__token_count__prompt_details__audio=3,
            llm__token_count__completion_details__reasoning=200,
            llm__cost__total=0.25,
            llm__tools__0__tool__json_schema=json.dumps(tool),
            output__value='{"id": "chatcmpl-7", "choices": [], "service_tier": "default"}',
            output__mime_type="application/json",
            session__id="talk",
            user__id="u-7",
            metadata='{"tenant": "a"}',
            tag__tags=["x", "y"],
        )

        assert event["event_type"] == "model"
        assert event["inputs"]["chat_history"] == [{"role": "user", "content": "Where?"}]
        assert event["outputs"] == {"role": "assistant", "content": "In Bern."}
        assert event["config"] == {
            "model": "gpt-4o-2024-08-06",
            "provider": "openai",
            "hyperparameters": {"temperature": 0.2},
            "tools": [tool],
        }
        assert event["user_properties"] == {"user_id": "u-7"}
        assert said_of(event) == {
            "session_key": "talk",
            "tenant": "a",
            "tags": ["x", "y"],
            "requested_model": "gpt-4o",
            "response_id": "chatcmpl-7",
            "service_tier": "default",
            "finish_reason": "stop",
            "prompt_tokens": 1000,
            "completion_tokens": 300,
            "total_tokens": 1300,
            "cache_read_tokens": 800,
            "cache_write_tokens": 50,
            "reasoning_tokens": 200,
            "prompt_audio_tokens": 3,
            "cost": 0.25,
            "cost_source": "span",
        }

    def test_messages_are_in_the_order_of_their_numbers(self) -> None:
        """
        However they come, and whichever number is the first.
        """
        attributes = {KIND: "LLM"}
        for number in (10, 2, 1):
            attributes[f"llm.input_messages.{number}.message.role"] = "user"
            attributes[f"llm.input_messages.{number}.message.content"] = str(number)

        chat = read(attributes)["inputs"]["chat_history"]

        assert [message["content"] for message in chat] == ["1", "2", "10"]

    def test_calls_of_tools_and_their_results(self) -> None:
        """
        In OpenAI's form; arguments that are left out are none.
        """
        asked = fields(
            "input",
            {
                "message.role": "assistant",
                **call_fields("message.tool_calls.0", "c1", "find", '{"n": 7}'),
                "message.tool_calls.1.tool_call.id": "c2",
                "message.tool_calls.1.tool_call.function.name": "list",
            },
            {
                "message.role": "tool",
                "message.tool_call_id": "c1",
                "message.content": "Bern",
                "message.name": "find",
            },
            {
                "message.role": "assistant",
                "message.function_call_name": "old",
                "message.function_call_arguments_json": "{}",
            },
        )

        assert read({KIND: "LLM", **asked})["inputs"]["chat_history"] == [
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "find", "arguments": '{"n": 7}'},
                    },
                    {
                        "id": "c2",
                        "type": "function",
                        "function": {"name": "list", "arguments": "{}"},
                    },
                ],
            },
            {"role": "tool", "content": "Bern", "tool_call_id": "c1", "name": "find"},
            {
                "role": "assistant",
                "content": "",
                "function_call": {"name": "old", "arguments": "{}"},
            },
        ]

    def test_parts_of_a_message(self) -> None:
        """
        Texts, files by their address, and blocks of other kinds, which are there as JSON text.
        """
        block = {"type": "document", "title": "t"}
        asked = fields(
            "input",
            {
                "message.role": "user",
                **parts(
                    {"type": "text", "text": "What is this?"},
                    {"type": "image", "image.image.url": "__REDACTED__"},
                    {"type": "audio", "audio.audio.url": "a.wav", "audio.audio.mime_type": "x"},
                    {"type": "document", "text": json.dumps(block)},
                    {"type": "odd", "text": "seven", "id": "i"},
                ),
            },
        )

        assert read({KIND: "LLM", **asked})["inputs"]["chat_history"][0]["content"] == [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "__REDACTED__"}},
            {"type": "audio_url", "audio_url": {"url": "a.wav"}, "audio.audio.mime_type": "x"},
            block,
            {"type": "odd", "text": "seven", "id": "i"},
        ]

    def test_what_is_said_twice_is_told_once(self) -> None:
        """
        Anthropic's calls are parts and calls, the answers of openai-agents parts and a text.
        """
        place = "message.contents.1"
        said = fields(
            "output",
            {
                "message.content": "Let me look.",
                **parts({"type": "text", "text": "Let me look."}, {"type": "tool_use"}),
                **call_fields(place, "c1", "find", "{}"),
                **call_fields("message.tool_calls.0", "c1", "find", "{}"),
            },
        )
        event = read({KIND: "LLM", **said}, llm__finish_reason="tool_use")

        call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
        assert event["outputs"] == {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [call],
        }
        assert event["metadata"]["finish_reason"] == "tool_calls"

    def test_thoughts_are_apart(self) -> None:
        """
        With what signs or encrypts them, as clients' responses have it.
        """
        said = fields(
            "output",
            {
                **parts(
                    {"type": "reasoning", "text": "Look it up.", "signature": "s"},
                    {"type": "reasoning", "data": "d"},
                    {"type": "reasoning", "text": "Then tell.", "encrypted_content": "e"},
                    {"type": "text", "text": "In Bern.", "signature": "g"},
                ),
            },
        )

        assert read({KIND: "LLM", **said})["outputs"] == {
            "role": "assistant",
            "content": "In Bern.",
            "reasoning_content": "Look it up.\nThen tell.",
            "thinking_blocks": [
                {"type": "thinking", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
            ],
            "reasoning_items": [{"type": "reasoning", "encrypted_content": "e"}],
            "thought_signatures": ["g"],
        }

    def test_several_messages_are_choices(self) -> None:
        """
        The first of them is the answer.
        """
        said = fields("output", {"message.content": "one"}, {"message.content": "two"})
        event = read({KIND: "LLM", **said}, output__value='{"id": "c", "choices": [{}, {}]}')

        assert event["outputs"]["content"] == "one"
        assert [one["message"]["content"] for one in event["outputs"]["choices"]] == ["one", "two"]

    @pytest.mark.parametrize(
        "whole",
        [
            '{"id": "resp_7", "object": "response", "status": "completed"}',
            '{"id":"resp_7","object":"respon',
            json.dumps({"id": "resp_7", "object": "response", "x": "y" * 2**20}),
        ],
        ids=["whole", "cut", "long"],
    )
    def test_items_of_openai_responses_are_one_answer(self, whole: str) -> None:
        """
        Also if their JSON can't be read, or is not worth it.
        """
        said = fields(
            "output",
            {**parts({"type": "reasoning", "text": "Look it up.", "id": "rs_1"})},
            {"message.content": "I look."},
            {**call_fields("message.tool_calls.0", "c1", "find", "{}")},
        )
        event = read({KIND: "LLM", **said}, output__value=whole, llm__finish_reason="stop")

        call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
        assert event["outputs"] == {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "Look it up.",
            "tool_calls": [call],
        }
        assert (
            said_of(event).items()
            >= {
                "response_id": "resp_7",
                "finish_reason": "tool_calls",
            }.items()
        )

    def test_an_answer_that_ended_early_says_why(self) -> None:
        """
        By the response of OpenAI Responses, which has no finish reason on the span.
        """
        why = {"reason": "max_output_tokens"}
        whole = {"object": "response", "status": "incomplete", "incomplete_details": why}
        said = fields("output", {"message.content": "In"})

        event = read({KIND: "LLM", **said}, output__value=json.dumps(whole))

        assert event["metadata"]["finish_reason"] == "length"

    def test_reading_a_stored_answer_is_no_call(self) -> None:
        """
        It asks for nothing, and its tokens are those of the call that made the answer.
        """
        asks = {"llm.invocation_parameters": "{}", "input.value": "{}"}
        said = fields("output", {"message.content": "In Bern."})
        attributes = {KIND: "LLM", **asks, **said, "llm.token_count.prompt": 7}
        event = read(attributes)

        assert event["event_type"] == kind_of(attributes) == "tool"
        assert event["outputs"] == {"role": "assistant", "content": "In Bern."}
        assert said_of(event) == {
            "operation": "fetch_response",
            "stored_usage": {"prompt_tokens": 7},
        }
        assert kind_of({**attributes, **fields("input", {"message.content": ""})}) == "model"

    def test_parameters_have_places_of_their_own(self) -> None:
        """
        What is no parameter is none: not of LangChain, and not in the response that
        openai-agents has instead. Headers are not sent.
        """
        given = {
            "model_name": "m",
            "temperature": 0,
            "top_k": None,
            "model_kwargs": {},
            "_type": "chat",
            "tool_choice": {"type": "auto"},
            "response_format": {"type": "json_object"},
            "tools": [{"name": "find"}],
            "messages": ["m"],
            "metadata": {"tenant": "a"},
            "user": "u",
            "extra_headers": {"authorization": "secret"},
        }
        event = read({KIND: "LLM"}, llm__invocation_parameters=json.dumps(given))
        response = {
            "id": "resp_7",
            "created_at": 1.0,
            "model": "m-1",
            "instructions": "Be kind.",
            "temperature": 1.0,
            "status": "completed",
            "metadata": {},
        }
        agents = read({KIND: "LLM"}, llm__invocation_parameters=json.dumps(response))

        assert event["config"] == {
            "model": "m",
            "hyperparameters": {"temperature": 0},
            "tool_choice": {"type": "auto"},
            "response_format": {"type": "json_object"},
        }
        assert said_of(event) == {"tenant": "a"}
        assert event["user_properties"] == {"user_id": "u"}
        assert agents["config"] == {"model": "unknown", "hyperparameters": {"temperature": 1.0}}
        assert said_of(agents) == {"response_id": "resp_7", "status": "completed"}

    def test_the_first_token_of_a_stream_is_timed(self) -> None:
        """
        From the beginning of the span; one that came before it is none.
        """
        began = span().start
        events = [
            event_of(span(attributes=CALL, first_token=began + passed))
            for passed in (1_250_000, -1)
        ]

        assert events[0]["metrics"] == {"time_to_first_token": 1.25}
        assert "metrics" not in events[1]

    @pytest.mark.parametrize(
        ("given", "form"),
        [
            (
                {"text": {"format": {"type": "json_object"}, "verbosity": "low"}},
                {"type": "json_object"},
            ),
            ({"output_config": {"format": {"type": "json_object"}}}, {"type": "json_object"}),
            (
                {"response_json_schema": {"type": "object"}},
                {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
            ),
            ({"text": {"format": {"type": "text"}}}, None),
        ],
    )
    def test_the_format_of_the_answer_has_its_place(
        self, given: dict[str, Any], form: dict[str, Any] | None
    ) -> None:
        """
        Wherever an API has it.
        """
        config = read({KIND: "LLM"}, llm__invocation_parameters=json.dumps(given))["config"]

        assert config.get("response_format") == form
        kept = {"text": {"verbosity": "low"}} if "verbosity" in str(given) else None
        assert config.get("hyperparameters") == (kept if form else given)

    def test_json_that_was_cut_is_kept(self) -> None:
        """
        As the text that is left of it, with a mark.
        """
        event = read(CALL, llm__invocation_parameters='{"temperature": 0.')
        step = read(
            {KIND: "TOOL"},
            input__value='{"n": ',
            input__mime_type="application/json",
            output__value='{"n": ',
            output__mime_type="text/plain",
        )

        assert event["config"]["hyperparameters"] == {"content": '{"temperature": 0.'}
        assert event["metadata"]["cut"] == ["hyperparameters"]
        assert (step["inputs"], step["outputs"]) == ({"content": '{"n": '}, {"result": '{"n": '})
        assert step["metadata"]["cut"] == ["inputs"]

    @pytest.mark.parametrize(
        ("name", "given"), [("ChatCompletion", '{"stream": true}'), ("GenerateContentStream", "")]
    )
    def test_a_stream_that_its_reader_left_says_so(self, name: str, given: str) -> None:
        """
        It has no finish reason, and is no error.
        """
        said = fields("output", {"message.content": "In"})
        attributes = {KIND: "LLM", **said, "llm.invocation_parameters": given}
        scope = "openinference.instrumentation.openai"
        event = event_of(span(name=name, attributes=attributes, scope=scope))

        assert event["metadata"]["stream"] == "stopped"
        assert "error" not in event

    def test_langchain_says_who_answered_in_its_result(self) -> None:
        """
        Its span of a stream has the model that was asked for, and none has the response's id.
        """
        generation = {
            "text": "In Bern.",
            "generation_info": {"finish_reason": "stop", "model_name": "gpt-4o-2024-08-06"},
            "message": {"kwargs": {"content": "In Bern.", "response_metadata": {"id": "c-7"}}},
        }
        result = {"generations": [[generation]], "type": "LLMResult"}
        event = read({**CALL, "llm.model_name": "gpt-4o"}, output__value=json.dumps(result))

        assert event["config"]["model"] == "gpt-4o-2024-08-06"
        assert (
            said_of(event).items()
            >= {
                "requested_model": "gpt-4o",
                "response_id": "c-7",
            }.items()
        )

    def test_json_that_was_asked_for_says_nothing_of_the_call(self) -> None:
        """
        Even if it has the names that a response has.
        """
        event = read(CALL, output__value='{"id": "7", "model": "T", "status": "completed"}')

        assert event["config"]["model"] == "gpt-4o-2024-08-06"
        assert "response_id" not in event["metadata"]

    def test_what_was_hidden_stays_hidden(self) -> None:
        """
        A tracer that hides messages has them in the values that repeat everything; these are
        left out, and it is said that they are.
        """
        hidden = {KIND: "LLM", "input.value": '{"messages": ["secret"]}', "output.value": "secret"}
        event = read(hidden)

        assert "secret" not in json.dumps(event)
        assert said_of(event) == {"left_out": ["input.value", "output.value"]}
        repeated = read(CALL, input__value='{"messages": []}', output__value="In Bern.")
        assert "left_out" not in repeated["metadata"]

    def test_a_mask_stays_as_it_is(self) -> None:
        """
        In a message as in a value.
        """
        asked = fields("input", {"message.role": "user", "message.content": "__REDACTED__"})
        event = read({KIND: "LLM", **asked, "output.value": "__REDACTED__"})

        assert event["inputs"]["chat_history"][0]["content"] == "__REDACTED__"
        assert said_of(event) == {"output.value": "__REDACTED__"}

    def test_a_failed_call_has_no_answer(self) -> None:
        """
        LangChain has an empty one for it, and a traceback in the status.
        """
        attributes = {**CALL, "llm.output_messages.0.message.role": "assistant"}
        for name in ("llm.output_messages.0.message.content", "llm.finish_reason"):
            del attributes[name]
        event = event_of(
            span(
                attributes=attributes,
                is_error=True,
                description="Traceback (most recent call last): …",
                exception={"exception.message": "no answer"},
            )
        )

        assert "outputs" not in event
        assert event["error"] == "no answer"

    def test_a_completion_is_read_too(self) -> None:
        """
        Prompts and texts of the API that has no messages; images that were made.
        """
        event = read(
            {KIND: "LLM"},
            llm__prompts__0__prompt__text="Once",
            llm__choices__0__completion__text="upon a time",
        )
        made = read({KIND: "LLM"}, output__images__0__image__url="i.png")

        assert event["inputs"]["chat_history"] == [{"role": "user", "content": "Once"}]
        assert event["outputs"] == {"role": "assistant", "content": "upon a time"}
        assert made["outputs"]["content"] == [{"type": "image_url", "image_url": {"url": "i.png"}}]

    def test_functions_that_the_client_called_are_kept(self) -> None:
        """
        Gemini's client calls them by itself, between two requests of one span.
        """
        event = read(CALL, **call_fields("message__tool_calls__0", "c", "find", "{}"))

        [call] = event["metadata"]["tool_calls"]
        assert call["function"] == {"name": "find", "arguments": "{}"}

    def test_a_template_of_the_prompt(self) -> None:
        """
        With the values for its placeholders.
        """
        event = read(
            CALL,
            llm__prompt_template__template="Where is {{x}}?",
            llm__prompt_template__variables='{"x": "it"}',
            llm__prompt_template__version="v1",
        )

        assert event["config"]["template"] == [{"content": "Where is {{x}}?"}]
        assert event["inputs"]["x"] == "it"
        assert event["metadata"]["prompt_template_version"] == "v1"


class TestSteps:
    """
    Steps that are no calls of a model.
    """

    @pytest.mark.parametrize(
        ("kind", "type_"),
        [
            ("LLM", "model"),
            ("CHAIN", "chain"),
            ("AGENT", "chain"),
            ("TOOL", "tool"),
            ("EMBEDDING", "tool"),
            ("RETRIEVER", "tool"),
            ("RERANKER", "tool"),
            ("GUARDRAIL", "tool"),
            ("EVALUATOR", "tool"),
            ("of tomorrow", "tool"),
            (7, "tool"),
        ],
    )
    def test_the_kind_decides_the_type(self, kind: Any, type_: str) -> None:
        """
        Nothing else does.
        """
        assert read({KIND: kind})["event_type"] == type_

    def test_a_tool_has_inputs_and_a_result(self) -> None:
        """
        JSON objects are what they are; anything else has a name.
        """
        event = read(
            {KIND: "TOOL"},
            tool__name="find",
            tool__description="Finds.",
            tool__parameters='{"type": "object"}',
            input__value='{"n": 7}',
            input__mime_type="application/json",
            output__value="Bern",
        )
        listed = read({KIND: "CHAIN"}, input__value="[1, 2]", output__value='{"a": null}')

        assert (event["inputs"], event["outputs"]) == ({"n": 7}, {"result": "Bern"})
        assert said_of(event) == {
            "tool_name": "find",
            "tool_description": "Finds.",
            "tool_parameters": {"type": "object"},
        }
        assert (listed["inputs"], listed["outputs"]) == ({"input": [1, 2]}, {"a": None})

    def test_an_agent_has_its_place(self) -> None:
        """
        In a graph of nodes, under the names that these attributes have.
        """
        event = read(
            {KIND: "AGENT"}, agent__name="guide", graph__node__id="g", graph__node__parent_id="p"
        )

        assert said_of(event) == {
            "agent_name": "guide",
            "graph.node.id": "g",
            "graph.node.parent_id": "p",
        }

    def test_vectors_are_counted(self) -> None:
        """
        Their texts are kept; of the vectors, only their number is.
        """
        embedding = "embedding.embeddings"
        event = read(
            {
                KIND: "EMBEDDING",
                f"{embedding}.0.embedding.text": "one",
                f"{embedding}.0.embedding.vector": [0.1, 0.2, 0.3],
                f"{embedding}.1.embedding.text": "two",
                f"{embedding}.1.embedding.vector": (0.4, 0.5, 0.6),
                "embedding.model_name": "e-3",
                "embedding.invocation_parameters": '{"model": "e-3", "dimensions": 3}',
                "input.value": '{"input": ["one", "two"]}',
                "output.value": '{"data": [{"embedding": [0.1, 0.2, 0.3]}]}',
                "llm.token_count.prompt": 8,
            }
        )

        assert event["inputs"] == {"texts": ["one", "two"]}
        assert event["outputs"] == {"vectors": 2, "dimensions": 3}
        assert event["config"] == {"model": "e-3", "hyperparameters": {"dimensions": 3}}
        assert event["metadata"]["prompt_tokens"] == 8
        assert "0.1" not in json.dumps(event)

    def test_documents_are_put_together(self) -> None:
        """
        Those that were found, and those that were put in another order.
        """
        found = read(
            {KIND: "RETRIEVER"},
            input__value="Where?",
            output__value='{"documents": ["Bern"]}',
            retrieval__documents__0__document__content="Bern",
            retrieval__documents__0__document__metadata='{"page": 7}',
            retrieval__documents__1__document__content="Basel",
        )
        ranked = read(
            {KIND: "RERANKER"},
            reranker__query="Where?",
            reranker__model_name="r",
            reranker__top_k=1,
            reranker__input_documents__0__document__id="b",
            reranker__output_documents__0__document__score=0.5,
        )

        assert found["inputs"] == {"input": "Where?"}
        documents = [{"content": "Bern", "metadata": {"page": 7}}, {"content": "Basel"}]
        assert found["outputs"] == {"documents": documents}
        assert ranked["inputs"] == {"query": "Where?", "documents": [{"id": "b"}]}
        assert ranked["outputs"] == {"documents": [{"score": 0.5}]}
        assert ranked["config"] == {"model": "r", "hyperparameters": {"top_k": 1}}
