"""
Two instrumentations of one call that nothing joins are warned of once.
"""

from __future__ import annotations

import pytest

from hh_exporter._capture.pairs import Pairs

OI = "openinference.instrumentation"
OL = "opentelemetry.instrumentation"
ANTHROPIC = "com.anthropic.sdk.python"


@pytest.mark.parametrize(
    ("framework", "client"),
    [
        (f"{OI}.langchain", f"{OI}.openai"),
        (f"{OI}.langchain", f"{OI}.anthropic"),
        (f"{OI}.langchain", ANTHROPIC),
        (f"{OL}.langchain", ANTHROPIC),
    ],
)
def test_a_stream_beside_its_clients_span_is_warned_of_once(framework: str, client: str) -> None:
    """
    A framework's call without a response id may be the client's call again.
    """
    pairs = Pairs()

    assert pairs.look(client, has_id=True) is None
    assert pairs.look(framework, has_id=True) is None
    assert pairs.look(framework, has_id=False) == (framework, client)
    assert pairs.look(framework, has_id=False) is None


@pytest.mark.parametrize(
    ("framework", "client"),
    [
        ("opentelemetry.instrumentation.genai.langchain", f"{OI}.openai"),
        (f"{OL}.langchain", "opentelemetry.instrumentation.openai.v1"),
        (f"{OI}.openai_agents", f"{OI}.openai"),
        ("pydantic-ai", ANTHROPIC),
    ],
)
def test_pairs_that_join_are_fine(framework: str, client: str) -> None:
    """
    Where parents or response ids join the two, or one makes no span beside the other, all is well.
    """
    pairs = Pairs()

    for scope in (client, framework, client):
        assert pairs.look(scope, has_id=False) is None
