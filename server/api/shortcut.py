"""The way of the hot paths: from the gate to their endpoints by one look into a table.

The router tries its routes in order and fills in what a template captures; an exact path needs neither.
Whatever the table does not hold, another method of these paths too, goes on to the router.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.error_handlers import error_response
from server.errors import EngramError


class Shortcut:
    """Takes ``POST`` requests for exact paths straight to their endpoints."""

    def __init__(self, app: ASGIApp, posts: Mapping[str, ASGIApp]) -> None:
        self.app = app
        self._posts = posts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        endpoint = self._posts.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        scope["endpoint"] = endpoint  # as the router has it: the metrics name the route by it
        try:
            await endpoint(scope, receive, send)
        except EngramError as error:
            await error_response(scope, error)(scope, receive, send)
