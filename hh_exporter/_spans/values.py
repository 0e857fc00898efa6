"""
Inputs and outputs of steps other than calls of a model, as OpenInference has them.

A list of documents or texts takes precedence over the value that repeats it. Vectors are counted,
not kept: nobody reads them, and they are most of a span of embeddings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hh_exporter._spans.attributes import data_of
from hh_exporter._spans.parts import Parts, named, present

if TYPE_CHECKING:
    from hh_exporter._spans.attributes import Attributes, Json

__all__ = ["inputs_of", "outputs_of"]

_VECTOR: Final = "embedding.vector"


def inputs_of(attributes: Attributes, lists: dict[str, list[Json]]) -> Parts | None:
    """
    Make the inputs of a step; *lists* are those of its attributes, and what is read is taken away.
    """
    value = _take(attributes, "input", "inputs")
    known = present(
        {
            "texts": _texts(lists.get("embedding.embeddings", ())),
            "query": attributes.take("reranker.query"),
            "documents": _documents(lists.pop("reranker.input_documents", ())),
        }
    )
    return known or named("input", value)


def outputs_of(attributes: Attributes, lists: dict[str, list[Json]]) -> Parts | None:
    """
    Make the outputs of a step.
    """
    value = _take(attributes, "output", "outputs")
    found = [
        *lists.pop("retrieval.documents", ()),
        *lists.pop("reranker.output_documents", ()),
    ]
    known = present(
        {"documents": _documents(found), **_vectors(lists.pop("embedding.embeddings", ()))}
    )
    return known or named("result", value)


def _take(attributes: Attributes, name: str, part: str) -> Any:
    is_json = attributes.take(f"{name}.mime_type") == "application/json"
    value = f"{name}.value"
    return attributes.take_json(part, value) if is_json else data_of(attributes.take(value))


def _texts(embeddings: Any) -> list[Any] | None:
    texts = [one.pop("embedding.text") for one in embeddings if "embedding.text" in one]
    return texts or None


def _vectors(embeddings: Any) -> Parts:
    """
    Count the vectors; what else is said of *embeddings* is listed.
    """
    vectors = [one.pop(_VECTOR) for one in embeddings if _VECTOR in one]
    sizes = {len(one) for one in vectors if isinstance(one, list | tuple)}
    return {
        "vectors": len(vectors) or None,
        "dimensions": sizes.pop() if len(sizes) == 1 else None,
        "embeddings": [one for one in embeddings if one] or None,
    }


def _documents(documents: Any) -> list[Json] | None:
    return [
        {
            name.removeprefix("document."): data_of(value) if name == "document.metadata" else value
            for name, value in fields.items()
        }
        for fields in documents
    ] or None
