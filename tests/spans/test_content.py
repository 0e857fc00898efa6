"""
Parts of messages, as each instrumentation writes them.
"""

from __future__ import annotations

from typing import Any

import pytest

from hh_exporter._spans.content import part_of, result_of, thought_of

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAEC"}}
LINK = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


@pytest.mark.parametrize(
    ("part", "made"),
    [
        ({"type": "blob", "modality": "image", "mime_type": "image/png", "content": "AAEC"}, IMAGE),
        ({"type": "binary", "media_type": "image/png", "content": "AAEC"}, IMAGE),
        ({"type": "uri", "modality": "image", "uri": "https://example.com/a.png"}, LINK),
        ({"type": "image-url", "url": "https://example.com/a.png"}, LINK),
        (LINK, LINK),
        (
            {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": "AAEC"},
            {"type": "input_audio", "input_audio": {"data": "AAEC", "format": "wav"}},
        ),
        ({"type": "refusal", "content": "No."}, {"type": "refusal", "refusal": "No."}),
        ({"type": "text", "content": "a", "n": 1}, {"type": "text", "text": "a", "n": 1}),
    ],
)
def test_a_part_is_as_openai_has_it(part: dict[str, Any], made: dict[str, Any]) -> None:
    """
    Images and audio, whether they are inside or elsewhere.
    """
    assert part_of(part) == made


@pytest.mark.parametrize(
    "part",
    [
        {"type": "anthropic_image"},
        {"type": "blob", "modality": "image", "mime_type": None, "content": "AAEC"},
        {"type": "blob", "mime_type": "video/mp4", "content": "AAEC"},
        {"type": "uri", "modality": "video", "uri": "https://example.com/a.mp4"},
        {"type": "server_tool_call", "name": "search", "server_tool_call": {}},
        {"type": ["odd"]},
        {},
        None,
        7,
    ],
)
def test_what_nobody_knows_stays(part: object) -> None:
    """
    Nothing of a message is lost.
    """
    assert part_of(part) == part


@pytest.mark.parametrize(
    ("result", "content"),
    [
        ("Bern", "Bern"),
        (None, ""),
        ([{"type": "text", "text": "Bern"}], "Bern"),
        ([{"type": "text", "content": "Bern"}], "Bern"),
        (
            [{"type": "text", "text": "Bern"}, {"type": "anthropic_image"}],
            [{"type": "text", "text": "Bern"}, {"type": "anthropic_image"}],
        ),
        ({"place": "Bern"}, '{"place":"Bern"}'),
        ([1, 2], "[1,2]"),
        ([], "[]"),
        (21, "21"),
    ],
)
def test_a_result_is_what_the_model_read(result: object, content: object) -> None:
    """
    Text, or parts.
    """
    assert result_of(result) == content


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Look it up.", "Look it up."),
        (
            '[{"text": "Look", "type": "summary_text"}, {"text": "it up.", "type": "a"}]',
            "Look\nit up.",
        ),
        ([{"text": "Look it up."}], None),
        ([{"type": "summary_text", "text": "Look it up."}], "Look it up."),
        ("[{cut", "[{cut"),
        ('[{"type": "JSON"}]', '[{"type": "JSON"}]'),
        (None, None),
        (7, None),
    ],
)
def test_a_thought_is_text(content: object, text: str | None) -> None:
    """
    OpenLLMetry has JSON text of the API's own parts, of OpenAI Responses.
    """
    assert thought_of(content) == text
