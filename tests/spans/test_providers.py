"""
Which provider a call was made to.
"""

from __future__ import annotations

import pytest

from hh_exporter._spans.providers import provider_of


@pytest.mark.parametrize(
    ("claim", "name"),
    [
        ("openai", "openai"),
        ("gcp.gen_ai", "google"),
        ("gcp.vertex_ai", "google"),
        ("Gemini", "google"),
        ("azure.ai.openai", "azure"),
        ("mistral_ai", "mistral"),
        ("x_ai", "xai"),
        ("aws.bedrock", "aws"),
        ("of tomorrow", "of tomorrow"),
        (None, None),
    ],
)
def test_each_has_one_name(claim: str | None, name: str | None) -> None:
    """
    Whoever names it; a name that isn't known stays.
    """
    assert provider_of(claim) == name


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("api.deepseek.com", "deepseek"),
        ("API.GROQ.COM", "groq"),
        ("https://api.x.ai/v1", "xai"),
        ("https://openrouter.ai/api/v1/", "openrouter"),
        ("https://user:key@api.mistral.ai:443/v1", "mistral"),
        ("mine.openai.azure.com", "azure"),
        ("generativelanguage.googleapis.com", "google"),
        ("europe-west4-aiplatform.googleapis.com", "google"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "aws"),
        ("api.together.xyz", "together"),
    ],
)
def test_a_known_host_counts_more_than_a_claim(place: str, name: str) -> None:
    """
    Instrumentations of the openai client say "openai" of every server.
    """
    assert provider_of("openai", None, place) == name
    assert provider_of(None, place) == name


@pytest.mark.parametrize(
    "place",
    [
        *(None, "", 7, ["api.groq.com"], "127.0.0.1", "localhost", "proxy.example.com"),
        *("api.groq.com.example.com", "notopenrouter.ai", "s3.amazonaws.com", "a." * 10_000),
    ],
)
def test_an_unknown_place_leaves_the_claim(place: object) -> None:
    """
    Such as a proxy's, which may ask any provider.
    """
    assert provider_of("openai", place) == "openai"
