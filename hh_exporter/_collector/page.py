"""
The files of the page that shows what arrives.

They are read once, into a table by their addresses: no path that a browser
names ever reaches the disk.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from aiohttp import web
from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

__all__ = ["Page"]

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@frozen
class _File:
    body: bytes = field(repr=False)
    headers: dict[str, str]


@define(eq=False)
class Page:
    """
    The page at `/`, and what it is made of below `/page/`.
    """

    _files: dict[str, _File] = field(factory=lambda: dict(_read(files(__package__) / "page")))

    def add_to(self, app: web.Application) -> None:
        """
        Let *app* serve it.
        """
        for path in self._files:
            app.router.add_get(path, self.show)

    async def show(self, request: web.Request) -> web.Response:
        """
        Send a file, or say that the browser has it already.
        """
        file = self._files[request.path]
        if request.headers.get("If-None-Match") == file.headers["ETag"]:
            return web.Response(status=304, headers=file.headers)
        return web.Response(body=file.body, headers=file.headers)


def _read(directory: Traversable, path: str = "/page") -> Iterator[tuple[str, _File]]:
    for entry in directory.iterdir():
        if entry.is_dir():
            yield from _read(entry, f"{path}/{entry.name}")
        elif (kind := _TYPES.get(entry.name.rpartition(".")[2])) is not None:
            address = "/" if entry.name == "index.html" else f"{path}/{entry.name}"
            yield address, _file(entry.read_bytes(), kind)


def _file(body: bytes, kind: str) -> _File:
    headers = {
        "Content-Type": kind,
        "Cache-Control": "no-cache",  # asked for each time: a new release shows at once
        "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
    }
    return _File(body, headers)
