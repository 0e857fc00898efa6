"""
Two integrations of one exporter report a call once.
"""

from __future__ import annotations

import gc

from hh_exporter import Exporter
from hh_exporter.integrations._reported import _MAX, claim, is_reported, register
from tests.capture.tracing import CALL, Traced
from tests.conftest import MakeExporter
from tests.scripted_server import ScriptedServer


class Reporter:
    """
    A logger of LiteLLM, as far as it matters here.
    """

    library = "litellm"
    is_on = True

    def is_active(self) -> bool:
        return self.is_on


async def test_the_first_to_claim_a_call_pushes_it(make_exporter: MakeExporter) -> None:
    """
    Its repeats are its own, another exporter's calls are others, and the oldest are forgotten.
    """
    one, other = await make_exporter(), await make_exporter()

    assert claim(one, "r", "spans")
    assert claim(one, "r", "spans")
    assert not claim(one, "r", "litellm")
    assert claim(other, "r", "litellm")
    for number in range(_MAX):
        claim(one, str(number), "spans")
    assert claim(one, "r", "litellm")


async def test_a_call_that_another_integration_pushed_is_left_out(
    traced: Traced, server: ScriptedServer
) -> None:
    """
    The span of a client that LiteLLM used has the response id that its logger reported.
    """
    claim(traced.exporter, "r", "litellm")
    traced.end("client", attributes={**CALL, "gen_ai.response.id": "r"})
    traced.end("other", attributes={**CALL, "gen_ai.response.id": "s"})

    assert set(await traced.sent(server)) == {"other"}


async def test_spans_of_a_library_that_reports_itself(
    traced: Traced, server: ScriptedServer
) -> None:
    """
    They are left out for as long as its logger is active, and lives.
    """
    exporter: Exporter = traced.exporter
    reporter = Reporter()
    register(exporter, reporter)
    with traced.span("reported", by="litellm"):
        pass
    await exporter.flush()
    reporter.is_on = False
    with traced.span("inactive", by="litellm"):
        pass
    await exporter.flush()
    reporter.is_on = True
    assert is_reported(exporter, "litellm")
    del reporter
    gc.collect()
    assert not is_reported(exporter, "litellm")

    assert set(await traced.sent(server)) == {"inactive"}
