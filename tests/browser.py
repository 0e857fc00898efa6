"""
A real Chromium, headless, and what tests do with its one page.

Every wait is for something that the page shows. It loads nothing but what a test
opens, and what it asked the network for can be read afterwards.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import tempfile
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from tests.support import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from selenium.webdriver.remote.webelement import WebElement

__all__ = ["Browser", "find_chromium", "started_browser"]

T = TypeVar("T")

DESKTOP = (1280, 800)
_POLL = 0.02
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
)
_SHOWN = "const e = document.querySelector(arguments[0]); return e?.checkVisibility() ? e : null"
_TEXT = (
    "const e = document.querySelector(arguments[0]);"
    "return e?.checkVisibility() ? {text: e.textContent} : null"
)
_CHECK = """
const [tags, done] = arguments;
axe.run({runOnly: tags, resultTypes: ["violations", "incomplete"]}).then(
  ({violations, incomplete}) => done([...violations, ...incomplete]), (error) => done([error]));
"""
_WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice")
_UNKNOWABLE = ("shortTextContent", "nonBmp", "bgOverlap", "elmPartiallyObscuring")
_GONE = "return !document.querySelector(arguments[0])?.checkVisibility()"


def find_chromium() -> tuple[str, str] | None:
    """
    Find Chromium and its driver, or None if either is missing.
    """
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return None if chromium is None or driver is None else (chromium, driver)


@contextmanager
def started_browser(chromium: str, driver: str) -> Iterator[Browser]:
    """
    Run Chromium, with a profile of its own, until the block ends.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        running = webdriver.Chrome(options=options, service=Service(driver))
        try:
            yield Browser(running)
        finally:
            running.quit()


@frozen
class Browser:
    """
    One page, in one window.

    The driver waits for its answers; so each call is made in a thread, and what
    the page talks to can answer meanwhile.
    """

    _driver: webdriver.Chrome

    async def reset(self) -> None:
        """
        Leave the page that is open, and forget what the last test set.
        """
        await self.open("about:blank")
        await self.resize(*DESKTOP)
        await self.prefer("light")
        await self.live_in("")
        await self.problems()
        await self.requests()

    async def open(self, url: str) -> None:
        await self._do(self._driver.get, url)

    async def reload(self) -> None:
        await self._do(self._driver.refresh)

    async def back(self) -> None:
        await self._do(self._driver.back)

    @asynccontextmanager
    async def windows(self, url: str, more: int) -> AsyncIterator[list[str]]:
        """
        Have *more* windows beside the first until the block ends, all of them in sight.

        Yields what `look_at` takes.
        """
        first = self._driver.current_window_handle
        names = [first]
        try:
            for _ in range(more):
                await self._do(self._driver.switch_to.new_window, "window")
                names.append(self._driver.current_window_handle)
                await self.open(url)
            yield names
        finally:
            for name in names[1:]:
                await self.look_at(name)
                await self._do(self._driver.close)
            await self.look_at(first)

    async def look_at(self, window: str) -> None:
        """
        Have all that is asked of the browser answered by this window.
        """
        await self._do(self._driver.switch_to.window, window)

    async def url(self) -> str:
        return await self._do(lambda: self._driver.current_url)

    async def resize(self, width: int, height: int) -> None:
        """
        Have a screen of this size, a phone's if it is as narrow as one.
        """
        await self._command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    async def prefer(self, scheme: str) -> None:
        """
        Have a system that is "light" or "dark".
        """
        await self._command(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    async def live_in(self, zone: str) -> None:
        """
        Have the clock of a time zone; "" for the system's own.
        """
        await self._command("Emulation.setTimezoneOverride", timezoneId=zone)

    async def run(self, script: str, *arguments: object) -> Any:
        """
        Run the body of a function in the page, and return what it returns.
        """
        return await self._do(self._driver.execute_script, script, *arguments)

    async def run_async(self, script: str, *arguments: object) -> Any:
        """
        Run it likewise, and return what it gives to its last argument, a function.
        """
        return await self._do(self._driver.execute_async_script, script, *arguments)

    async def until(self, script: str, *arguments: object) -> Any:
        """
        Run it until it returns something true, and return that.
        """

        def look(driver: webdriver.Chrome) -> Any:
            return driver.execute_script(script, *arguments)

        return await self._do(self._wait().until, look, script)

    async def find(self, selector: str) -> WebElement:
        """
        Wait until an element is shown.
        """
        element: WebElement = await self.until(_SHOWN, selector)
        return element

    async def gone(self, selector: str) -> None:
        """
        Wait until no such element is shown.
        """
        await self.until(_GONE, selector)

    async def text(self, selector: str) -> str:
        return str((await self.until(_TEXT, selector))["text"])

    async def texts(self, selector: str) -> list[str]:
        """
        List the texts of all elements that are there.
        """
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        return list(await self.run(script, selector))

    async def click(self, selector: str) -> None:
        """
        Click an element once it is shown, even if it is replaced just then by its like.
        """

        def click(driver: webdriver.Chrome) -> bool:
            element = driver.execute_script(_SHOWN, selector)
            if element is not None:
                element.click()
            return element is not None

        await self._do(self._wait(StaleElementReferenceException).until, click, selector)

    async def choose(self, selector: str, value: str) -> None:
        """
        Choose from a list.
        """
        choices = Select(await self.find(selector))
        await self._do(choices.select_by_value, value)

    async def press(self, *keys: str) -> None:
        """
        Press keys, one after the other, wherever the focus is.
        """
        await self._do(ActionChains(self._driver).send_keys(*keys).perform)

    async def chord(self, modifier: str, key: str) -> None:
        """
        Press a key while a modifier is held.
        """
        actions = ActionChains(self._driver).key_down(modifier).send_keys(key).key_up(modifier)
        await self._do(actions.perform)

    async def drag(self, selector: str, start: int, way: int) -> None:
        """
        Drag within an element, from *start* pixels right of its middle.
        """
        element = await self.find(selector)
        actions = ActionChains(self._driver).move_to_element_with_offset(element, start, 0)
        await self._do(actions.click_and_hold().move_by_offset(way, 0).release().perform)

    async def screenshot(self) -> bytes:
        """
        Take a picture of what is seen, as PNG.
        """
        answer = await self._command("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    async def barriers(self) -> list[str]:
        """
        List what keeps people from using the page as it is now, measured by axe-core.

        Contrast that can't be measured, as of text on a picture, counts as well, but for
        signs, single letters, and a dialog, of which axe-core does not know that it is on top.
        """
        await self.run("document.getAnimations().forEach((animation) => animation.cancel())")
        await self.run(_axe())
        found = await self.run_async(_CHECK, _WCAG)
        return [
            f"{rule['id']}: {', '.join(node['target'])}: {check['message']}"
            for rule in found
            for node in rule["nodes"]
            for check in (node["any"] + node["all"] + node["none"])[:1]
            if (check["data"] or {}).get("messageKey") not in _UNKNOWABLE
        ]

    async def problems(self) -> list[str]:
        """
        List what the console says since the last call.
        """
        return [entry["message"] for entry in await self._do(self._driver.get_log, "browser")]

    async def requests(self) -> list[str]:
        """
        List the addresses that were asked for since the last call.

        An image within the page, whose address is its bytes, is asked of nobody.
        """
        entries = await self._do(self._driver.get_log, "performance")
        told = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            entry["params"]["request"]["url"]
            for entry in told
            if entry["method"] == "Network.requestWillBeSent"
            and not entry["params"]["request"]["url"].startswith("data:")
        ]

    def _wait(self, *ignored: type[Exception]) -> WebDriverWait[webdriver.Chrome]:
        return WebDriverWait(self._driver, PATIENCE, _POLL, ignored)

    async def _command(self, name: str, **parameters: object) -> Any:
        return await self._do(self._driver.execute_cdp_cmd, name, parameters)

    async def _do(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.to_thread(work, *arguments)


@cache
def _axe() -> str:
    return (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
