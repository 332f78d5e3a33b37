"""/api/: the API's reference page; its assets come from the installed swagger-ui package, nothing from elsewhere."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path

from handlers.base import ApiHandler
from handlers.operation import operation
from server.errors import NotFound
from server.scopes import ANYONE

PAGE = """<!doctype html>
<html lang="zh">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>智汇 Zhihui · API</title>
<link rel="stylesheet" href="/api/reference/swagger-ui.css">
<link rel="icon" href="/api/reference/favicon-32x32.png">
<div id="reference"></div>
<script src="/api/reference/swagger-ui-bundle.js"></script>
<script src="/api/reference/start.js"></script>
</html>
"""
START = 'SwaggerUIBundle({url: "/api/openapi.json", dom_id: "#reference", deepLinking: true, tagsSorter: "alpha", validatorUrl: null});\n'
# Swagger UI sets styles on its elements; scripts are only our own.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'"
)
ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript", "favicon-32x32.png": "image/png"}


def assets_folder() -> Path:
    """Where the installed package keeps Swagger UI; found without importing it, as it would look for resources at import."""
    spec = importlib.util.find_spec("swagger_ui_bundle")
    if spec is None or spec.origin is None:
        raise NotFound()
    return next(iter(sorted((Path(spec.origin).parent / "vendor").glob("swagger-ui-*"))))


class ReferenceHandler(ApiHandler):
    @operation(ANYONE, "The API's reference, for people.", raw=True)
    async def get(self) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", POLICY)
        self.finish(PAGE)


class AssetHandler(ApiHandler):
    @operation(ANYONE, "A part of the reference page.", raw=True)
    async def get(self, name: str) -> None:
        self.set_header("Cache-Control", "public, max-age=86400")
        if name == "start.js":
            self.set_header("Content-Type", "text/javascript; charset=utf-8")
            self.finish(START)
            return
        if name not in ASSETS:
            raise NotFound()
        content = await asyncio.to_thread(lambda: (assets_folder() / name).read_bytes())
        self.set_header("Content-Type", ASSETS[name])
        self.finish(content)


routes = [
    (r"/", ReferenceHandler),  # the way in, as long as there is no browser UI
    (r"/api/?", ReferenceHandler),
    (r"/api/reference/(?P<name>[a-z0-9.-]+)", AssetHandler),
]
