"""``/docs``: the OpenAPI document as a page to read and try, complete without a network.

FastAPI's own page fetches its script from somebody else's server; ours comes from an installed package.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
"""Files the page loads, with their media types."""

DOCS_PATHS = frozenset({"/docs", "/openapi.json", *(f"/docs/{name}" for name in ASSETS)})

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; "
    "script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
"""The browser loads nothing from elsewhere either."""


def docs_routes(title: str) -> list[Route]:
    """Return the page and the files it loads."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=title,
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url="docs/favicon.png",
        swagger_ui_parameters={"persistAuthorization": True},
    )

    async def show_page(_: Request) -> Response:
        return Response(page.body, headers=HEADERS, media_type="text/html")

    async def show_asset(request: Request) -> Response:
        name = request.scope["path"].rpartition("/")[2]
        headers = {**HEADERS, "Cache-Control": "max-age=86400"}
        return Response(_asset(name), headers=headers, media_type=ASSETS[name])

    assets = [Route(f"/docs/{name}", show_asset, methods=["GET"]) for name in ASSETS]
    return [Route("/docs", show_page, methods=["GET"]), *assets]


@cache
def _asset(name: str) -> bytes:
    return (files("fastapi_offline") / "static" / name).read_bytes()
