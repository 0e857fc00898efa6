"""
The page, in the user's browser.

A browser may stay open for hours, or never start: nobody waits for it, and nothing
fails without one.
"""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

__all__ = ["browse", "show_page"]


def browse(url: str) -> None:
    """
    Open *url* in the default browser, if there is one; may block while that is open.

    One for the terminal only if BROWSER asks for it: it would take the terminal from us.
    """
    with suppress(webbrowser.Error, OSError):
        browser = webbrowser.get()
        if os.environ.get("BROWSER") or type(browser) is not webbrowser.GenericBrowser:
            browser.open(url)


def show_page(url: str, show: Callable[[str], object] = browse) -> None:
    """
    Have *show* called with *url*, and go on.
    """
    # No thread of the loop's: that would be waited for.
    Thread(target=show, args=(url,), name="hh-browser", daemon=True).start()
