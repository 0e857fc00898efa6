"""
What a call of a model cost, by the price list of the package `genai-prices`, if it is there.

A cost is right as far as can be known, or it is missing: where the list has no such provider
or model, or no price for a kind of token that was used. The list takes 0.2 s and 30 MB, so it
is imported for the first event that needs it; nothing is asked of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from attrs import define, field

from hh_exporter._log import get_log

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

    from hh_exporter.events import ModelEvent

__all__ = ["SOURCE", "Prices", "price_of"]

log = get_log(__name__)

SOURCE: Final = "genai-prices"
"""What `metadata.cost_source` says of a cost from here."""

_PACKAGE: Final = "genai_prices"
_LIST: Final = "genai_prices.data_snapshot"
_MAX_KNOWN: Final = 1_000
"""Models that are remembered; one more, and all are looked up again."""
_MAX_NAME: Final = 200
"""Characters of a model's name that are logged."""

_MILLION: Final = Decimal(1_000_000)
_THOUSAND: Final = Decimal(1_000)

_COUNTED: Final = (
    *("prompt_tokens", "completion_tokens"),
    *("cache_read_tokens", "cache_write_tokens"),
)

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
    has_tiers: bool
    """Whether the service tiers of its prices hold for the provider, who may sell another's."""


@define(eq=False)
class Prices:
    """
    The list, and the models of it that were asked for lately.
    """

    _get_list: Callable[[], DataSnapshot] | None = field(default=None, init=False)
    """Returns the list that the program uses at the moment; None if there is none."""
    _is_loaded: bool = field(default=False, init=False)
    _list: DataSnapshot | None = field(default=None, init=False)
    _known: dict[_Asked, _Found | None] = field(factory=dict, init=False)
    """What `_list` has, None if nothing."""
    _told: set[str] = field(factory=set, init=False)
    """Models about which a line was logged."""

    def would_load(self, event: ModelEvent) -> bool:
        """
        Whether `complete` would load the list first, which blocks for 0.2 s.
        """
        return not self._is_loaded and _lacks_cost(event) and _is_installed()

    def load(self) -> None:
        """
        Import the list, if it is installed. May run in a thread; never raises.
        """
        try:
            if _is_installed():
                get_list = import_module(_LIST).get_snapshot
                get_list()
                self._get_list = get_list
        except Exception as exc:  # whatever an import runs into
            log.debug("no prices: importing %s raised %s", _PACKAGE, type(exc).__name__)
        self._is_loaded = True

    def complete(self, event: ModelEvent) -> None:
        """
        Set the cost of *event* and mark it in its metadata, if it has none and one is known.

        The provider is that of `metadata["server.address"]`, whatever the client claims. What
        it claims counts where the list does not know the address: that of a proxy, or of a
        server of one's own. Prices are those of the event's start. Never raises.
        """
        if not _lacks_cost(event):
            return
        if not self._is_loaded:
            self.load()
        if self._get_list is None:
            return
        try:
            cost = self._find_cost(event, self._get_list())
            if cost is None:
                self._tell(event, "the list has none")
            else:
                event.metadata = {**(event.metadata or {}), "cost_source": SOURCE}
                event.cost = cost
        except Exception as exc:  # of the package, or because of what it was given
            self._tell(event, type(exc).__name__)

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
        tier = next((metadata[name] for name in _TIERS if name in metadata), _STANDARD)
        context = {"service_tier": tier} if found.has_tiers and tier != _STANDARD else None
        cost = price_of(event.usage or {}, found.model.get_prices(_start_of(event), context))
        return None if cost is None else float(cost)

    def _tell(self, event: ModelEvent, why: str) -> None:
        model = str(event.model)[:_MAX_NAME]
        if model not in self._told and len(self._told) < _MAX_KNOWN:
            self._told.add(model)
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
                return _Found(model, any(model is own for own in provider.models))
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


def price_of(usage: Mapping[str, Any], price: ModelPrice) -> Decimal | None:
    """
    Multiply the tokens of *usage*, which counts cached ones as input too, by their prices, in USD.

    What has no price of its own counts as plain input. For these kinds of tokens this is what
    `ModelPrice.calc_price` says, which takes 0.1 ms.

    Returns:
        None without a token, without a count of either side, without a price for one of them,
        or where audio is counted, whose tokens are among the others.

    Raises:
        ValueError: A count is no natural number, or there are more cached tokens than input.
    """
    if "prompt_tokens" not in usage or "completion_tokens" not in usage or _has_audio(usage):
        return None
    asked, answered, read, written = counts = [usage.get(name, 0) for name in _COUNTED]
    if any(type(count) is not int or count < 0 for count in counts) or read + written > asked:
        raise ValueError("these can't be counts of tokens")
    if not asked + answered:
        return None
    prices = vars(price)
    total, plain = Decimal(0), asked
    for count, name in ((read, "cache_read_mtok"), (written, "cache_write_mtok")):
        if count and (rate := prices.get(name)) is not None:
            total += count * _at(rate, asked)
            plain -= count
    for count, name in ((plain, "input_mtok"), (answered, "output_mtok")):
        if count:
            if (rate := prices.get(name)) is None:
                return None  # sold by something else, such as the second
            total += count * _at(rate, asked)
    fee: Decimal = prices.get("requests_kcount", Decimal(0))
    return total / _MILLION + fee / _THOUSAND


def _has_audio(usage: Mapping[str, Any]) -> bool:
    return any(count and "audio" in name for name, count in usage.items())


def _at(price: Decimal | TieredPrices, asked: int) -> Decimal:
    """
    Choose the price of a tier by the whole input, as it holds for all of it.
    """
    if isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if asked > tier.start), price.base)
