"""
Clients of LLM APIs and instrumentations for them, made up, and installed for one test.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["Packages", "installing"]

_OURS = ("agents", "anthropic", "langchain", "langchain_core", "openai", "pydantic_ai")
_SPACES = ("google.genai", "openinference", "opentelemetry.instrumentation.genai")

CLIENT = "def ask(text): return text.upper()\n"

INSTRUMENTOR = """
import os
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.trace import get_tracer
import {client}

class {name}(BaseInstrumentor):
    def instrumentation_dependencies(self):
        return ["{needs}"]

    def _instrument(self, **options):
        self.options = options
        self.switch = os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT")
        tracer = get_tracer("made up", "1", options.get("tracer_provider"))
        self.plain = plain = {client}.ask

        def ask(text):
            with tracer.start_as_current_span("{client}") as span:
                span.set_attribute("gen_ai.operation.name", "chat")
                return plain(text)

        {client}.ask = ask

    def _uninstrument(self, **options):
        {client}.ask = self.plain
"""

TRACE_CONFIG = """
class TraceConfig:
    def __init__(self, base64_image_max_length=None):
        self.length = base64_image_max_length
"""


class Packages:
    """
    A folder of packages that can be imported.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def install(self, distribution: str, module: str, source: str = "") -> None:
        """
        Install version 1.2 of a distribution that has one module.
        """
        path = self._folder.joinpath(*module.split("."))
        path.mkdir(parents=True, exist_ok=True)
        (path / "__init__.py").write_text(source)
        info = self._folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n"
        )

    def client(self, distribution: str, module: str | None = None) -> None:
        self.install(distribution, module or distribution, CLIENT)

    def semconv(self, client: str, name: str, needs: str = "", extra: str = "") -> None:
        """
        Install an instrumentation like OpenTelemetry's own; the name is that of its client.
        """
        module = f"opentelemetry.instrumentation.genai.{client.replace('-', '_')}"
        source = INSTRUMENTOR.format(client=_module(client), name=name, needs=needs or client)
        self.install(f"opentelemetry-instrumentation-genai-{client}", module, source + extra)

    def openinference(self, client: str, name: str) -> None:
        """
        Install an instrumentation like OpenInference's.
        """
        module = f"openinference.instrumentation.{client.replace('-', '_')}"
        needs = "langchain_core" if client == "langchain" else client
        source = INSTRUMENTOR.format(client=_module(client), name=name, needs=needs)
        if not (self._folder / "openinference/instrumentation/__init__.py").exists():
            self.install("openinference-instrumentation", "openinference.instrumentation")
            front = self._folder / "openinference/instrumentation/__init__.py"
            front.write_text(TRACE_CONFIG)
        self.install(f"openinference-instrumentation-{client}", module, source)


def _module(client: str) -> str:
    named = {"langchain": "langchain_core", "google-genai": "google.genai"}
    return named.get(client, client)


@contextmanager
def installing(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """
    Have packages in *folder* importable, before those that are really installed.
    """

    def is_ours(name: str) -> bool:
        return name.partition(".")[0] in _OURS or name.startswith(_SPACES)

    for name in [name for name in sys.modules if is_ours(name)]:
        patch.delitem(sys.modules, name)
    patch.syspath_prepend(folder)
    yield Packages(folder)
    for name in [name for name in sys.modules if is_ours(name)]:
        del sys.modules[name]
