"""
docs/api.md names all that may be imported.
"""

from __future__ import annotations

import re
from importlib import import_module

import hh_exporter
from hh_exporter import testing
from tests.docs.pages import PAGES

INTEGRATIONS = ("aiohttp", "asgi", "opentelemetry", "prometheus")
"""Those that can be imported here; LiteLLM is tested by itself."""


def test_the_reference_has_each_public_name() -> None:
    """
    What may be imported is documented, and nothing else is.
    """
    public = {f"hh_exporter.{name}" for name in hh_exporter.__all__ if name != "__version__"}
    public |= {f"hh_exporter.testing.{name}" for name in testing.__all__}
    for name in INTEGRATIONS:
        module = import_module(f"hh_exporter.integrations.{name}")
        public |= {f"{module.__name__}.{each}" for each in module.__all__}
    listed = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)", PAGES["api"], re.MULTILINE))

    aliases = {f"hh_exporter.events.Json{kind}" for kind in ("Array", "Object", "Objects", "Value")}
    assert listed == public | aliases | {"hh_exporter.integrations.litellm.ExporterLogger"}
