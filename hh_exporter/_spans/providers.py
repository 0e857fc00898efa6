"""
Which provider answered a call: one name for each, whatever the instrumentation calls it.

OpenAI's client reports "openai" for every server, so a known host takes precedence over what the
instrumentation claims.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

__all__ = ["provider_of"]

_NAMES: Final = {
    **dict.fromkeys(("gemini", "gcp.gemini", "gcp.gen_ai", "google_genai", "genai"), "google"),
    **dict.fromkeys(("gcp.vertex_ai", "vertex_ai", "vertexai", "google_vertexai"), "google"),
    **dict.fromkeys(("google-gla", "google-vertex", "google_ai_studio"), "google"),
    **dict.fromkeys(("azure.ai.openai", "az.ai.openai", "azure_openai", "azure_ai"), "azure"),
    **dict.fromkeys(("azure.ai.inference", "az.ai.inference", "azure-openai"), "azure"),
    **dict.fromkeys(("aws.bedrock", "bedrock", "amazon_bedrock", "bedrock_converse"), "aws"),
    **dict.fromkeys(("mistral_ai", "mistralai"), "mistral"),
    **dict.fromkeys(("x_ai", "x-ai", "grok"), "xai"),
    **dict.fromkeys(("together_ai", "togetherai"), "together"),
    **dict.fromkeys(("fireworks_ai", "fireworksai"), "fireworks"),
    "perplexityai": "perplexity",
    "moonshot": "moonshotai",
    "hugging_face": "huggingface",
    "ibm.watsonx.ai": "watsonx",
}
"""Other names: those of the conventions, OpenInference, OpenLLMetry, LiteLLM and LangChain."""

_HOSTS: Final = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "google",
    "openai.azure.com": "azure",
    "cognitiveservices.azure.com": "azure",
    "services.ai.azure.com": "azure",
    "models.ai.azure.com": "azure",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.x.ai": "xai",
    "api.mistral.ai": "mistral",
    "codestral.mistral.ai": "mistral",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "openrouter.ai": "openrouter",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.fireworks.ai": "fireworks",
    "api.perplexity.ai": "perplexity",
    "api.cerebras.ai": "cerebras",
    "api.moonshot.ai": "moonshotai",
    "api.moonshot.cn": "moonshotai",
    "api.sambanova.ai": "sambanova",
    "api.deepinfra.com": "deepinfra",
    "router.huggingface.co": "huggingface",
}
"""Hosts of providers, and domains whose subdomains are the customers' own hosts."""

_MAX_LABELS: Final = 6
_MAX_KNOWN: Final = 128
"""Characters of a place that is remembered."""


def provider_of(claim: str | None, *places: object) -> str | None:
    """
    Name the provider that answers at the first of *places* that is known, else by *claim*.

    Args:
        claim: What an instrumentation says; a name that isn't known stays as it is.
        places: Hosts or URLs, or what is neither.
    """
    for place in places:
        if isinstance(place, str) and place:
            known = _at(place) if len(place) <= _MAX_KNOWN else _find(place)
            if known is not None:
                return known
    return None if claim is None else _NAMES.get(claim.lower(), claim)


def _find(place: str) -> str | None:
    host = place.partition("://")[2] or place
    host = host.partition("/")[0].rpartition("@")[2].partition(":")[0].lower()
    labels = host.split(".")
    if len(labels) > _MAX_LABELS:
        return None
    for number in range(len(labels) - 1):
        if known := _HOSTS.get(".".join(labels[number:])):
            return known
    if host.endswith("-aiplatform.googleapis.com"):  # by region
        return "google"
    if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) and labels[0].startswith("bedrock"):
        return "aws"
    return None


_at = lru_cache(maxsize=256)(_find)
"""The same, of places that come again with each call."""
