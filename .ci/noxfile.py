"""
The tests of instrumented clients: `nox -f .ci/noxfile.py -s semconv`, and -l lists the others.

Each family of instrumentation is a session with an environment of its own, since they ask for
different versions of the same packages; FAMILIES says what is tried. What such an environment
has is pinned in .ci/genai, whole, and nothing else is: PIP_CONSTRAINT has no say in it. To try
newer releases, `nox -f .ci/noxfile.py -s pins -- semconv` installs them and writes them down.

What follows -- goes to pytest. With -R, environments are used as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"

ROOT: Final = Path(__file__).parents[1]
PINS: Final = ROOT / ".ci" / "genai"

TOOLS: Final = (
    "hypothesis",
    "opentelemetry-sdk",
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
    "pytest-xdist",
    "selenium",
    "uvicorn",
)
"""What the tests need, whichever the family; the collector comes with the extra `cli`."""

CLIENTS: Final = (
    "anthropic",
    "google-genai",
    "langchain",
    "langchain-anthropic",
    "langchain-openai",
    "openai",
    "openai-agents",
)

SEMCONV: Final = (
    "opentelemetry-instrumentation-genai-anthropic",
    "opentelemetry-instrumentation-genai-langchain",
    "opentelemetry-instrumentation-genai-openai",
    "opentelemetry-instrumentation-genai-openai-agents",
)

PYDANTIC_AI: Final = ("genai-prices", "pydantic-ai-slim[anthropic,google,openai]")

FAMILIES: Final = {
    "semconv": (*CLIENTS, *SEMCONV),
    "openinference": (
        *CLIENTS,
        "openinference-instrumentation-anthropic",
        "openinference-instrumentation-google-genai",
        "openinference-instrumentation-langchain",
        "openinference-instrumentation-openai",
        "openinference-instrumentation-openai-agents",
    ),
    "openllmetry": (
        *CLIENTS,
        "opentelemetry-instrumentation-anthropic",
        "opentelemetry-instrumentation-google-generativeai",
        "opentelemetry-instrumentation-langchain",
        "opentelemetry-instrumentation-openai",
        "opentelemetry-instrumentation-openai-agents",
    ),
    # With the spans that Anthropic's client makes by itself.
    "pydantic-ai": PYDANTIC_AI,
    "litellm": ("litellm",),
    "langfuse": ("langfuse", "openai"),
    # All that `instrument` turns on, and the apps of the recipes.
    "instrument": (
        *CLIENTS,
        *SEMCONV,
        *PYDANTIC_AI,
        "fastapi",
        "openinference-instrumentation-google-genai",
    ),
}


INSTRUMENT_TESTS: Final = tuple(
    f"tests/genai/test_{name}.py" for name in ("instrument", "recipes", "undone")
)
"""What only that environment can run; the rest of it is the environment semconv's."""


def run(session: nox.Session) -> None:
    """
    Run the tests of one family.
    """
    session.chdir(ROOT)
    session.env["PIP_CONSTRAINT"] = None
    # All is listed, so that nothing need be looked for; and most of it is never imported.
    install = ("--no-deps", "--no-compile")
    session.install(*install, "--requirement", str(PINS / f"{session.name}.txt"))
    session.install(*install, "--editable", ".")
    tests = INSTRUMENT_TESTS if session.name == "instrument" else ("tests/genai",)
    session.run("pytest", "-n2", *tests, *session.posargs)


for family in FAMILIES:
    nox.session(run, name=family)


@nox.session(default=False, reuse_venv=False)
def pins(session: nox.Session) -> None:
    """
    Install the newest releases for the family that follows --, and pin them.
    """
    session.chdir(ROOT)
    session.env["PIP_CONSTRAINT"] = None
    [family] = session.posargs
    session.install(".[cli]", *TOOLS, *FAMILIES[family])
    pinned = session.run("pip", "freeze", "--exclude", "hh_exporter", silent=True)
    (PINS / f"{family}.txt").write_text(pinned)
