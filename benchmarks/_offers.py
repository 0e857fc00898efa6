"""
What became of an offer: what the client and its server saw, put together.
"""

from __future__ import annotations

from statistics import median

from attrs import evolve, frozen

from benchmarks._conduct import Conduct
from benchmarks._distant import Noted, running_distant
from benchmarks._offering import Client, Load, Offered, offer
from benchmarks._rounds import percentile

__all__ = ["Offer", "judge", "make_offer"]


@frozen(kw_only=True)
class Offer:
    """
    What became of what one client was offered.
    """

    offered: Offered
    noted: Noted
    events: int
    """Those that were offered."""
    acknowledged: int
    """Those of them that were acknowledged."""
    middle: float
    high: float
    """Seconds from push to acknowledged: p50 and p99."""
    last: float
    """Seconds from the first push to the last acknowledgement."""

    @property
    def share(self) -> float:
        """
        Say how many percent of the events were acknowledged.
        """
        return 100 * self.acknowledged / self.events

    @property
    def rate(self) -> float:
        """
        Say how many events a second were acknowledged until the last of them was.
        """
        return self.acknowledged / self.last

    @property
    def time(self) -> float:
        """
        Divide the time until all was acknowledged, or the client was stopped, by that of the load.
        """
        offered = self.offered
        end = self.last if offered.is_done else offered.closed - offered.began
        return end / (offered.ended - offered.began)

    @property
    def refused(self) -> float:
        return self.noted.refused

    def describe(self) -> str:
        """
        Give all figures, for orientation.
        """
        offered, noted = self.offered, self.noted
        sent = noted.requests - noted.refused
        limits = [sample.limit for sample in offered.samples if sample.limit]
        load, rest = offered.ended - offered.began, offered.closed - offered.ended
        end = "done" if offered.is_done else "stopped"
        figures = [
            f"{self.rate:,.0f} events/s",
            f"p50 {self.middle:.3f} s, p99 {self.high:.3f} s",
            f"{noted.requests} requests, {noted.refused} refused",
            f"{noted.events - noted.distinct} events twice",
            f"{noted.events / max(1, sent):.0f} events a body",
            f"{noted.most} in flight" + (f" of {median(limits):.0f}" if limits else ""),
            f"{offered.resident / 2**20:.0f} MiB",
            f"CPU {offered.cpu / self.acknowledged * 1000:.4f} s per 1,000",
            f"load {load:.1f} s, {end} {rest:.1f} s later",
        ]
        return "; ".join(figures)


def make_offer(client: Client, conduct: Conduct, load: Load) -> Offer:
    """
    Offer *load* to a *client* of a server of its own.

    Raises:
        RuntimeError: The server noted less than the client says was delivered.
    """
    with running_distant(conduct) as server:
        offered = offer(client, server.url, load)
        return judge(offered, server.collect())


def judge(offered: Offered, noted: Noted) -> Offer:
    """
    Put together what a client and its server saw.

    Raises:
        RuntimeError: The server noted less than the client says was delivered, or nothing.
    """
    acknowledged: dict[str, float] = {}
    for each in noted.acknowledged:
        for event_id in each.ids:
            acknowledged.setdefault(event_id, each.at)
    if not acknowledged or len(acknowledged) < (offered.delivered or 0):
        raise RuntimeError(
            f"{offered.delivered} events should have been acknowledged, {len(acknowledged)} were"
        )
    latencies = [at - offered.pushed[event_id] for event_id, at in acknowledged.items()]
    return Offer(
        offered=evolve(offered, pushed={}),  # of many offers, ids would take most of the memory
        noted=evolve(noted, acknowledged=[]),
        events=len(offered.pushed),
        acknowledged=len(latencies),
        middle=median(latencies),
        high=percentile(latencies, 0.99),
        last=max(acknowledged.values()) - offered.began,
    )
