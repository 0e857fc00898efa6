"""
What a call of a model cost, by the price list of the package `genai-prices`, if it is there.

A cost is missing rather than guessed, such as where the list has no such provider or model.
Importing the list takes 0.2 s and 30 MB, so that is done when a program starts, not in its event
loop; nothing is requested from the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from attrs import define, field

from hh_exporter._log import get_log

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, Provider, Usage

    from hh_exporter.events import ModelEvent

__all__ = ["SOURCE", "Prices"]

log = get_log(__name__)

SOURCE: Final = "genai-prices"
"""What `metadata.cost_source` says of a cost from here."""

_PACKAGE: Final = "genai_prices"
_LIST: Final = "genai_prices.data_snapshot"
_MAX_KNOWN: Final = 1_000
"""Models that are remembered; one more, and all are looked up again."""
_MAX_NAME: Final = 200
"""Characters of a model's name that are logged."""

_COUNTED: Final = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
}
"""Our names of counts, and those of the package."""

_CLAIMS: Final = {"azure.ai.inference": "azure", "azure.ai.openai": "azure", "x_ai": "x-ai"}
"""Names of the semantic conventions that the list does not know, or takes for another's."""

_TIERS: Final = ("openai.response.service_tier", "gen_ai.openai.response.service_tier")
"""Where the tier that served the call is named."""
_STANDARD: Final = "default"


class _Asked(NamedTuple):
    """
    What decides whose model a call was of.
    """

    address: str | None
    """The server's host, or its URL."""
    claim: str | None
    """The provider that the client named."""
    answered: str
    """The model that the answer named."""
    requested: str | None
    """The model that the request named, such as an alias."""


class _Found(NamedTuple):
    """
    A model of the list.
    """

    model: ModelInfo
    provider: Provider


@define(eq=False)
class Prices:
    """
    The list, if it is installed, and the models of it that were asked for lately.
    """

    _get_list: Callable[[], DataSnapshot] | None = field(default=None, init=False)
    """Returns the list that the program uses at the moment; None if there is none."""
    _make_usage: Callable[..., Usage] = field(init=False)
    _list: DataSnapshot | None = field(default=None, init=False)
    _known: dict[_Asked, _Found | None] = field(factory=dict, init=False)
    """What `_list` has, None if nothing."""
    _logged: set[str] = field(factory=set, init=False)
    """Models about which a line was logged."""

    def __attrs_post_init__(self) -> None:
        try:
            if _is_installed():
                self._make_usage = import_module(_PACKAGE).Usage
                get_list = import_module(_LIST).get_snapshot
                get_list()  # which imports the prices, in another 30 ms
                self._get_list = get_list
        except Exception as exc:  # whatever an import runs into
            log.debug("no prices: importing %s raised %s", _PACKAGE, type(exc).__name__)

    def complete(self, event: ModelEvent) -> None:
        """
        Set the cost of *event* and mark it in its metadata, if it has none and one is known.

        The provider is that of `metadata["server.address"]`, whatever the client claims. What
        it claims counts where the list does not know the address: that of a proxy, or of a
        server of one's own. Prices are those of the event's start. Never raises.
        """
        if self._get_list is None or not _lacks_cost(event):
            return
        try:
            cost = self._find_cost(event, self._get_list())
            if cost is None:
                self._note(event, "the list has none")
            else:
                event.metadata = {**(event.metadata or {}), "cost_source": SOURCE}
                event.cost = cost
        except Exception as exc:  # of the package, or because of what it was given
            self._note(event, type(exc).__name__)

    def _find_cost(self, event: ModelEvent, prices: DataSnapshot) -> float | None:
        if prices is not self._list or len(self._known) >= _MAX_KNOWN:
            self._known.clear()
            self._list = prices
        metadata = event.metadata or {}
        asked = _Asked(
            address=metadata.get("server.address"),
            claim=event.provider,
            answered=event.model,
            requested=metadata.get("requested_model"),
        )
        if asked not in self._known:
            self._known[asked] = _find_model(prices, asked)
        found = self._known[asked]
        if found is None:
            return None
        tokens = _tokens(event.usage or {})
        if tokens is None:
            return None
        tier = next((metadata[name] for name in _TIERS if name in metadata), _STANDARD)
        price = found.model.calc_price(
            self._make_usage(**tokens),
            found.provider,
            genai_request_timestamp=_start_of(event),
            price_context=None if tier == _STANDARD else {"service_tier": tier},
        )
        return float(price.total_price) or None  # 0 without a token that has a price

    def _note(self, event: ModelEvent, why: str) -> None:
        model = str(event.model)[:_MAX_NAME]
        if model not in self._logged and len(self._logged) < _MAX_KNOWN:
            self._logged.add(model)
            log.debug("no price for calls of %s: %s", model, why)


def _is_installed() -> bool:
    with suppress(ValueError):  # a module without a spec stands in for it
        return find_spec(_PACKAGE) is not None
    return False


def _lacks_cost(event: ModelEvent) -> bool:
    """
    Whether there is usage to compute a cost of, and none is given.
    """
    return event.cost is None and bool(event.usage) and event.start_time is not None


def _start_of(event: ModelEvent) -> datetime:
    start = event.start_time
    if isinstance(start, datetime):
        return start.astimezone(UTC)
    return datetime.fromtimestamp((start or 0) / 1000, UTC)


def _find_model(prices: DataSnapshot, asked: _Asked) -> _Found | None:
    provider = _find_provider(prices, asked)
    for name in (asked.answered, asked.requested):
        if provider is not None and name:
            model = provider.find_model(name, all_providers=prices.providers)
            if model is not None:
                return _Found(model, provider)
    return None


def _find_provider(prices: DataSnapshot, asked: _Asked) -> Provider | None:
    if asked.address:
        address = asked.address.lower()
        with suppress(LookupError):
            url = address if "://" in address else f"https://{address}"
            return prices.find_provider(None, None, url)
    if asked.claim:
        with suppress(LookupError):
            return prices.find_provider(None, _CLAIMS.get(asked.claim, asked.claim), None)
    return None


def _tokens(usage: Mapping[str, Any]) -> dict[str, int] | None:
    """
    Translate the counts of *usage*, in which cached tokens are input, too.

    Returns:
        None without a count of each side, or where audio is counted, whose tokens are among
        the others and have prices of their own.
    """
    if "prompt_tokens" not in usage or "completion_tokens" not in usage:
        return None
    if any(count and "audio" in name for name, count in usage.items()):
        return None
    tokens = {name: usage[known] for known, name in _COUNTED.items() if known in usage}
    is_natural = all(type(count) is int and count >= 0 for count in tokens.values())
    cached = tokens.get("cache_read_tokens", 0) + tokens.get("cache_write_tokens", 0)
    if not is_natural or cached > tokens["input_tokens"]:
        raise ValueError("these can't be counts of tokens")
    return tokens
