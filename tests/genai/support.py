"""
Tables of support: what each family of instrumentation knows of a call.

`python -m tests.genai.support` prints them, from what the tests check.
"""

from __future__ import annotations

from tests.genai.clients.client import scenarios_of
from tests.genai.expected import ASPECTS
from tests.genai.families import LAYERS
from tests.genai.gaps import GAPS, NO_EVENT, gaps_of

__all__ = ["tables"]


def tables() -> str:
    """
    Make two tables: what each family knows, and what it is that it doesn't, in words.
    """
    families = list(dict.fromkeys(layer.family for layer in LAYERS))
    known = [
        [aspect, *(_cell(family, aspect) for family in families)] for aspect in (NO_EVENT, *ASPECTS)
    ]
    rows = [["", *families], ["---"] * (len(families) + 1), *known]
    words = [["family", "client", "when", "what"], ["---"] * 4]
    for gap in GAPS:
        clients, scenarios = _listed(gap.clients), _listed(gap.scenarios)
        words.append([gap.family, clients, scenarios, gap.why])
    return "\n\n".join(
        "\n".join(f"| {' | '.join(row)} |" for row in table) for table in (rows, words)
    )


def _cell(family: str, aspect: str) -> str:
    cases = [
        any(aspect in gap.aspects for gap in gaps_of(layer, scenario))
        for layer in LAYERS
        if layer.family == family
        for scenario in scenarios_of(layer.make(None))
    ]
    return "no" if all(cases) else "partly" if any(cases) else "yes"


def _listed(patterns: tuple[str, ...]) -> str:
    return "all" if patterns == ("*",) else ", ".join(p.strip("*") for p in patterns)


if __name__ == "__main__":
    print(tables())
