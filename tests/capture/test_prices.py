"""
What a call cost, by the real price list.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
from genai_prices import data_snapshot
from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice, Provider

from hh_exporter import ModelEvent
from hh_exporter._capture.prices import Prices

START = 1_795_000_000_000
"""In November 2026."""
USAGE = {"prompt_tokens": 1000, "completion_tokens": 300, "cache_read_tokens": 800}
LOCAL = "127.0.0.1"


def event(**fields: Any) -> ModelEvent:
    ordinary = {"model": "gpt-4o-mini", "provider": "openai", "usage": USAGE, "start_time": START}
    return ModelEvent(**{**ordinary, **fields})


def cost_of(prices: Prices | None = None, **fields: Any) -> Any:
    priced = event(**fields)
    (prices or Prices()).complete(priced)
    return priced.cost


class TestTheModel:
    """
    Whose price it is.
    """

    def test_a_cost_is_set_and_marked(self) -> None:
        """
        The cost is in USD, cached tokens at their own price, and metadata says where it is from.
        """
        priced = event(metadata={"server.address": "api.openai.com"})

        Prices().complete(priced)

        assert priced.cost == 0.00027
        assert priced.metadata == {
            "server.address": "api.openai.com",
            "cost_source": "genai-prices",
        }

    def test_an_address_counts_more_than_a_claim(self) -> None:
        """
        DeepSeek's host is DeepSeek's, also for a client that is called openai.
        """
        metadata = {"server.address": "api.deepseek.com"}

        assert cost_of(model="deepseek-chat", metadata=metadata)
        assert cost_of(model="deepseek-chat") is None
        assert cost_of(metadata=metadata) is None  # DeepSeek sells no gpt-4o-mini

    @pytest.mark.parametrize(
        ("address", "provider", "model"),
        [
            ("api.anthropic.com", "anthropic", "claude-sonnet-4-5"),
            ("API.OpenAI.com", "", "gpt-4o-mini"),
            ("https://api.openai.com/v1/", "", "gpt-4o-mini"),
            ("generativelanguage.googleapis.com", "google", "gemini-2.5-flash"),
            ("us-central1-aiplatform.googleapis.com", "google", "gemini-2.5-flash"),
            ("bedrock-runtime.us-east-1.amazonaws.com", "aws", "amazon.nova-lite-v1:0"),
            ("example.openai.azure.com", "azure", "gpt-4o-mini"),
            ("openrouter.ai", "openrouter", "openai/gpt-4o-mini"),
            ("api.groq.com", "groq", "llama-3.3-70b-versatile"),
            ("api.mistral.ai", "mistral", "mistral-large-latest"),
            ("api.x.ai", "x_ai", "grok-4"),
        ],
    )
    def test_hosts_of_vendors_are_known(self, address: str, provider: str, model: str) -> None:
        """
        A host decides by itself, and where there is none, the name of the provider does.
        """
        by_host = cost_of(model=model, provider="nobody", metadata={"server.address": address})

        assert by_host
        if provider:
            assert cost_of(model=model, provider=provider) == by_host

    @pytest.mark.parametrize("address", [LOCAL, "localhost", "::1", "proxy.example.com", "", None])
    def test_a_claim_counts_behind_an_address_of_no_vendor(self, address: str | None) -> None:
        """
        What a proxy passes on has the price of its vendor; a model of one's own has none.
        """
        metadata = {"server.address": address}

        assert cost_of(metadata=metadata) == 0.00027
        assert cost_of(model="llama3.2", metadata=metadata) is None

    @pytest.mark.parametrize("name", ["azure.ai.openai", "azure.ai.inference", "azure"])
    def test_a_deployment_is_priced_by_what_answered(self, name: str) -> None:
        """
        Azure's deployments have names of their own, and answer with the model's.
        """
        metadata = {"requested_model": "our-deployment"}

        assert cost_of(model="gpt-4o-mini-2024-07-18", provider=name, metadata=metadata) == 0.00027
        assert cost_of(model="our-deployment", provider=name) is None

    def test_what_was_requested_counts_where_the_answer_is_unknown(self) -> None:
        """
        An answer may name a model that the list has not.
        """
        metadata = {"requested_model": "gpt-4o-mini"}

        assert cost_of(model="gpt-4o-mini-ours", metadata=metadata) == 0.00027

    @pytest.mark.parametrize("provider", [None, "", "unknown", "ollama"])
    def test_a_provider_that_nobody_knows_has_no_prices(self, provider: str | None) -> None:
        """
        A model's name alone does not say who serves it.
        """
        assert cost_of(provider=provider) is None

    def test_the_prices_are_those_of_the_day(self) -> None:
        """
        A price that was cut since is not that of an earlier call.
        """
        days = [datetime(2025, 6, day, tzinfo=UTC) for day in (1, 20)]
        usage = {"prompt_tokens": 1000, "completion_tokens": 300}
        starts = [*days, *(day.timestamp() * 1000 for day in days)]
        before, after, *same = (
            cost_of(model="o3", usage=usage, start_time=start) for start in starts
        )

        assert (before, after) == (0.022, 0.0044)
        assert same == [before, after]

    def test_a_service_tier_has_its_own_prices(self) -> None:
        """
        A tier counts for the vendor's own model, by the name that the answer gives it.
        """
        tiers = ("flex", "default", "priority", "nonsense")
        name = "openai.response.service_tier"
        flex, default, priority, other = (
            cost_of(model="gpt-5", metadata={name: tier}) for tier in tiers
        )

        assert flex == default / 2
        assert priority == default * 2
        assert other == default == cost_of(model="gpt-5")
        assert cost_of(model="gpt-5", provider="azure", metadata={name: "flex"}) == default


class TestTheTokens:
    """
    What is multiplied.
    """

    @pytest.mark.parametrize(
        "usage",
        [
            None,
            {},
            {"prompt_tokens": 0, "completion_tokens": 0},
            {"prompt_tokens": 1000},
            {"completion_tokens": 300},
            {"total_tokens": 1300},
            {"prompt_tokens": 1000, "completion_tokens": None},
            {"prompt_tokens": "1000", "completion_tokens": 300},
            {"prompt_tokens": -1, "completion_tokens": 300},
            {"prompt_tokens": 100, "completion_tokens": 30, "cache_read_tokens": 800},
            {**USAGE, "cache_read_tokens": 600, "cache_write_tokens": 600},
            {**USAGE, "prompt_audio_tokens": 1},
            [1000, 300],
        ],
        ids=repr,
    )
    def test_without_counts_that_can_be_there_is_no_cost(self, usage: Any) -> None:
        """
        Missing usage is not zero, and what is wrong has no price.
        """
        assert cost_of(usage=usage) is None

    def test_a_given_cost_stays(self) -> None:
        """
        The span's own counts, also where it is zero.
        """
        priced = event(cost=0.0)

        Prices().complete(priced)

        assert (priced.cost, priced.metadata) == (0.0, None)

    def test_a_model_that_is_not_sold_by_the_token_has_no_cost(self) -> None:
        """
        Tokens without a price are not free.
        """
        assert cost_of(model="whisper-1") is None


class TestWhatCanFail:
    """
    A missing price is nobody's trouble.
    """

    @pytest.fixture(autouse=True)
    def debug(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "hh_exporter")

    def test_a_model_without_a_price_is_one_line(self, caplog: pytest.LogCaptureFixture) -> None:
        """
        However often it is called, and for whatever reason there is none.
        """
        prices = Prices()
        for _ in range(3):
            cost_of(prices, model="ours")
            cost_of(prices, model="gpt-4o", usage={"prompt_tokens": -1, "completion_tokens": 1})

        assert caplog.messages == [
            "no price for calls of ours: the list has none",
            "no price for calls of gpt-4o: ValueError",
        ]

    @pytest.mark.parametrize(
        "fields",
        [
            {"model": ["gpt-4o"]},
            {"model": None},
            {"provider": 7},
            {"metadata": [1]},
            {"metadata": {"server.address": 7}},
            {"metadata": {"server.address": ["api.openai.com"]}},
            {"metadata": {"requested_model": {}}},
            {"usage": {1: 2, **USAGE}},
            {"start_time": "yesterday"},
            {"start_time": 1e30},
        ],
        ids=str,
    )
    def test_odd_values_raise_nothing(self, fields: dict[str, Any]) -> None:
        """
        A span may hold any value under any name.
        """
        assert cost_of(**fields) in (None, 0.00027)

    def test_what_is_remembered_is_bounded(self, caplog: pytest.LogCaptureFixture) -> None:
        """
        Any number of names of models takes no more memory than a thousand.
        """
        prices = Prices()
        for number in range(2_500):
            cost_of(prices, model=f"{number}")

        assert len(prices._known) <= 1_000
        assert len(caplog.messages) == 1_000
        assert cost_of(prices) == 0.00027

    def test_a_package_that_cannot_be_imported_is_as_good_as_none(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        It is tried once, and one line says why there are no prices.
        """
        monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", ModuleType("empty"))
        prices = Prices()

        assert [cost_of(prices), cost_of(prices)] == [None, None]
        assert caplog.messages == ["no prices: importing genai_prices raised AttributeError"]

    def test_without_the_package_nothing_is_computed_or_logged(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        It is an extra.
        """
        monkeypatch.setitem(sys.modules, "genai_prices", None)
        prices = Prices()

        assert cost_of(prices) is None
        assert caplog.messages == []

    def test_prices_that_the_program_sets_are_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A program may keep the list up to date, or bring its own: the next call has those prices.
        """
        prices = Prices()
        assert cost_of(prices) == 0.00027
        ours = Provider(
            id="openai",
            name="ours",
            api_pattern="https://llm",
            models=[
                ModelInfo(
                    id="gpt-4o-mini",
                    match=ClauseEquals("gpt-4o-mini"),
                    prices=ModelPrice(input_mtok=Decimal(1000), output_mtok=Decimal(0)),
                )
            ],
        )
        snapshot = data_snapshot.DataSnapshot(providers=[ours], from_auto_update=False)
        monkeypatch.setattr(data_snapshot, "_custom_snapshot", snapshot)

        assert cost_of(prices) == 1.0
        assert cost_of(prices, provider=None, metadata={"server.address": "llm"}) == 1.0


def test_the_list_is_not_imported_before_it_is_wanted_and_asks_nobody() -> None:
    """
    Not by an import of ours; then without a thread, a socket or a warning.
    """
    program = """
        import sys, threading, warnings
        from hh_exporter import ModelEvent
        from hh_exporter._capture.prices import Prices

        reached = []
        sys.addaudithook(lambda name, _: reached.append(name) if name[:6] == "socket" else None)
        assert "genai_prices" not in sys.modules
        prices = Prices()
        priced = ModelEvent(
            model="gpt-4o-mini",
            provider="openai",
            usage={"prompt_tokens": 1000, "completion_tokens": 300, "reasoning_tokens": 200},
            start_time=1_795_000_000_000,
        )
        assert "genai_prices.data" in sys.modules
        prices.complete(priced)

        assert threading.active_count() == 1
        print(priced.cost, reached)
    """
    shown = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        check=True,
        text=True,
    )

    assert (shown.stdout, shown.stderr) == ("0.00033 []\n", "")
