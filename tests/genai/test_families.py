"""
The same call gives the same event from every family of instrumentation that can know it.
"""

from __future__ import annotations

from asyncio import Runner
from typing import Any

import pytest

from tests.genai.clients.client import perform, scenarios_of
from tests.genai.conftest import Exported
from tests.genai.expected import differences
from tests.genai.families import LAYERS, Layer
from tests.genai.gaps import GAPS, NO_EVENT, Gap, gaps_of
from tests.genai.scenarios import SCENARIOS
from tests.genai.server import ModelServer

CASES = [(layer, name) for layer in LAYERS for name in scenarios_of(layer.make(None))]


def needs(layer: Layer) -> pytest.MarkDecorator:
    reason = f"needs the environment {layer.environment}"
    return pytest.mark.skipif(not layer.is_here, reason=reason)


def missing(
    layer: Layer, name: str, models: ModelServer, exported: Exported, runner: Runner
) -> dict[str, Any]:
    """
    Go through a scenario; return what the event has in each aspect that is not as expected.
    """
    from hh_exporter.integrations.genai import ModelEvents

    models.reset()
    before = len(exported.events())
    processor = ModelEvents(exported.exporter)
    with layer.turned_on(processor) as client:
        perform(client, SCENARIOS[name], models, runner)
    processor.shutdown()
    events = exported.events()[before:]
    if not events:
        return {NO_EVENT: None}
    [event] = events
    return differences(event, client.api, SCENARIOS[name])


@pytest.mark.parametrize(
    ("layer", "name"),
    [pytest.param(*case, id=f"{case[0]}: {case[1]}", marks=needs(case[0])) for case in CASES],
)
def test_a_call_is_one_event(
    layer: Layer, name: str, models: ModelServer, exported: Exported, runner: Runner
) -> None:
    """
    With all that the client asked for and got, but for what the layer does not know.
    """
    unknown = {aspect for gap in gaps_of(layer, name) for aspect in gap.aspects}

    found = missing(layer, name, models, exported, runner)

    assert {aspect: found[aspect] for aspect in found if aspect not in unknown} == {}


@pytest.mark.parametrize(
    "gap",
    [
        pytest.param(gap, id=f"{gap.family}: {gap.why}", marks=needs(layer))
        for gap in GAPS
        for layer in [next(layer for layer in LAYERS if layer.family == gap.family)]
    ],
)
def test_what_is_said_to_be_unknown_is(
    gap: Gap, models: ModelServer, exported: Exported, runner: Runner
) -> None:
    """
    If a newer release of an instrumentation knows it, the tables shall say so.
    """
    left = set(gap.aspects)
    for layer, name in CASES:
        if left and gap.is_of(layer, name):
            left -= missing(layer, name, models, exported, runner).keys()

    assert left == set()
