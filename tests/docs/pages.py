"""
The pages of docs/ as they stand, and the examples in them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

__all__ = ["DOCS", "PAGES", "README", "ROOT", "examples", "run"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {path.stem: path.read_text() for path in DOCS.glob("*.md")}
README = (ROOT / "README.md").read_text()


def examples(text: str, language: str = "python") -> list[str]:
    """
    List the blocks of *text* that are in *language*.
    """
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def run(example: str) -> dict[str, Any]:
    """
    Run *example*; return the names that it defines.
    """
    namespace: dict[str, Any] = {}
    exec(example, namespace)
    return namespace
