"""
How Sphinx makes pages of this folder: `sphinx-build docs build/docs`.

Nothing is fetched; what a page can take from the code or from README it takes from there.
"""

import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from settings_page import fill_in  # noqa: E402

from hh_exporter import __version__  # noqa: E402

project = "hh_exporter"
release = __version__
extensions = ["myst_parser"]
exclude_patterns = ["conf.py", "settings_page.py"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"hh_exporter {release}"
html_copy_source = False
html_show_copyright = False


def setup(app: Sphinx) -> None:
    """
    Have settings.md filled in as it is read.
    """

    def fill(_app: Sphinx, page: str, text: list[str]) -> None:
        if page == "settings":
            text[0] = fill_in(text[0])

    app.connect("source-read", fill)
