"""
Sphinx configuration: `sphinx-build docs build/docs`.

Nothing is downloaded. Options, settings and the API reference are generated from the code.
"""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import cli_page  # noqa: E402
import settings_page  # noqa: E402

from hh_exporter import __version__  # noqa: E402

project = "hh_exporter"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["conf.py", "cli_page.py", "settings_page.py"]
myst_heading_anchors = 3

default_role = "code"  # docstrings put names between single backticks
autodoc_member_order = "bysource"
autodoc_mock_imports = ["litellm"]  # large, and only its names are needed
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_type_aliases = {
    name: f"hh_exporter.events.{name}"
    for name in ("JsonArray", "JsonObject", "JsonObjects", "JsonValue")
}
napoleon_numpy_docstring = False
nitpick_ignore_regex = [
    ("py:.*", r"(?!hh_exporter\b).*"),  # other projects' pages are not downloaded
    (
        "py:.*",
        r".*\.(AppT|AsyncChunks|Chunks|Clock|EventT|Recording|Secret|SessionBlock|T|[A-Z]\w*Fields|_Timer)",
    ),  # type variables, and private names
]

html_theme = "furo"
html_title = f"hh_exporter {release}"
html_copy_source = False
html_show_copyright = False

FILLED = {"cli": cli_page.fill_in, "settings": settings_page.fill_in}


def setup(app: Sphinx) -> None:
    """
    Fill in the generated parts of pages when they are read.
    """

    def fill(_app: Sphinx, page: str, text: list[str]) -> None:
        if page in FILLED:
            text[0] = FILLED[page](text[0])

    def keep_colon(_app: Sphinx, what: str, *rest: object) -> None:
        *_, lines = rest
        # napoleon takes what precedes a colon in the first line for a type
        if what in ("attribute", "data", "property"):
            lines[:0] = ["..", ""]  # a comment, which holds none

    def hide_private(_app: Sphinx, *rest: object) -> tuple[str, object] | None:
        *_, signature, returns = rest
        if not isinstance(signature, str):
            return None
        return re.sub(r", _\w+=[^,()]*", "", signature), returns

    app.connect("source-read", fill)
    app.connect("autodoc-process-docstring", keep_colon, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", hide_private)
