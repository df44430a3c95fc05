"""The files of the live page: HTML, a style sheet and modules, as they are. They hold nothing of any pipeline."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiohttp import web

_TYPES: Final = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}


def page_routes() -> list[web.RouteDef]:
    """Give the routes of the page and of what it is made of."""
    from aiohttp import web

    folder = files("dagflow.admin") / "page"
    names = sorted(file.name for file in folder.iterdir() if file.name.rpartition(".")[2] in _TYPES)
    routes = [web.get(f"/page/{name}", _serve(folder / name)) for name in names]
    return [
        web.get("/", _serve(folder / "index.html")),
        web.get("/favicon.ico", _serve(folder / "icon.svg")),
        *routes,
    ]


def _serve(file):
    async def serve(_request: web.Request) -> web.Response:
        from aiohttp import web

        kind = _TYPES[file.name.rpartition(".")[2]]
        return web.Response(body=file.read_bytes(), content_type=kind, charset="utf-8")

    return serve
