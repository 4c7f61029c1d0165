"""The door: which paths need a key, asked before anything else of a request is looked at.

Everything needs one, once keys are set, save what is listed here; so a route that is added later is closed.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.docs_page import DOCS_PATHS
from server.api.error_handlers import error_response
from server.api.exchange import HEALTH, METRICS, exchange_of
from server.api.http_errors import NotFound
from server.api.security import Caller, Keys
from server.errors import EngramError
from server.settings import Settings, variable


class Gate:
    """Lets a request pass with a good key, or to a path that needs none."""

    def __init__(self, app: ASGIApp, keys: Keys, public: Collection[str], metrics_port: int = 0) -> None:
        self.app = app
        self._keys = keys
        self._public = public
        self._metrics_port = metrics_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it; anything but HTTP passes through."""
        if scope["type"] == "http":
            try:
                self.check(scope)
            except EngramError as error:
                await error_response(scope, error)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def check(self, scope: Scope) -> None:
        """Let a request pass.

        Raises:
            NotFound: the port has other paths only.
            Unauthorized: the path needs a key, and there is no good one.
        """
        path, address = scope["path"], scope.get("server")
        if address and address[1] == self._metrics_port and path != METRICS and path not in HEALTH:
            raise NotFound("this port has /metrics and /health, and nothing else")
        if self._keys.required and path not in self._public:
            exchange = exchange_of(scope)
            exchange.identified(self._keys.require(exchange.headers))


def public_paths(settings: Settings, keys: Keys) -> frozenset[str]:
    """Return the paths that need no key.

    Raises:
        ValueError: a setting asks for keys where none are set.
    """
    for setting in ("protect_metrics", "protect_docs"):
        if getattr(settings, setting) and not keys.required:
            raise ValueError(f"{variable(setting)} needs keys to ask for: set {variable('api_keys')}")
    metrics = frozenset() if settings.protect_metrics else frozenset({METRICS})
    docs = frozenset() if settings.protect_docs else DOCS_PATHS
    return HEALTH | metrics | docs


def require_admin(scope: Scope, keys: Keys) -> Caller:
    """Return who asks to load, unload or change something; the request's log line will name the key.

    Raises:
        Forbidden: no admin key is set, or this is a good key of the other kind.
        Unauthorized: there is no good key.
    """
    exchange = exchange_of(scope)
    caller = keys.require_admin(exchange.headers)
    exchange.identified(caller)
    return caller
