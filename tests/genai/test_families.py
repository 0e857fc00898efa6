"""
The same call gives the same event from every family of instrumentation that can know it.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.genai.clients.client import perform, scenarios_of
from tests.genai.conftest import Told
from tests.genai.expected import differences
from tests.genai.families import LAYERS, Layer
from tests.genai.scenarios import SCENARIOS
from tests.genai.server import ModelServer

CASES = [
    pytest.param(
        layer,
        name,
        id=f"{layer}: {name}",
        marks=pytest.mark.skipif(
            not layer.is_here, reason=f"needs the environment {layer.environment}"
        ),
    )
    for layer in LAYERS
    for name in scenarios_of(layer.make(None))
]


@pytest.mark.parametrize(("layer", "name"), CASES)
def test_a_call_is_one_event(
    layer: Layer, name: str, models: ModelServer, told: Told, runner: asyncio.Runner
) -> None:
    """
    With all that the client asked for and got, but for what the layer does not know.
    """
    from hh_exporter.integrations.genai import ModelEvents

    scenario = SCENARIOS[name]
    with layer.turned_on(ModelEvents(told.exporter)) as client:
        perform(client, scenario, models, runner)

    events = told.events()
    [event] = events
    assert differences(event, client.api, scenario) == {}
