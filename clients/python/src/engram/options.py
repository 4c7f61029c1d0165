"""How a client asks: where, as whom, for how long, how often. Checked once, shared by every call."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

import httpx2

from engram.errors import ConfigurationError

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_S = 30.0
DEFAULT_RETRIES = 2
POOL = httpx2.Limits(max_connections=100, max_keepalive_connections=20)


class OptionChanges(TypedDict, total=False):
    """What ``with_options`` may change; see ``Options``."""

    url: str
    api_key: str | None
    timeout: float
    retries: int
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Options:
    """Settings of a client.

    Attributes:
        url: Where the server is, without a trailing slash; a path in it is kept (behind a proxy).
        api_key: Sent as ``Authorization: Bearer``.
        timeout: Seconds for a whole call: connecting, retries, waits and the answer.
        retries: How often a call is sent again after a failure that may pass.
        headers: Extra headers for every request.
    """

    url: str = DEFAULT_URL
    api_key: str | None = field(default=None, repr=False)
    timeout: float = DEFAULT_TIMEOUT_S
    retries: int = DEFAULT_RETRIES
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", self.url.rstrip("/"))
        _check_url(self.url)
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ConfigurationError("the API key (ENGRAM_API_KEY) has characters no header can carry")
        if not (math.isfinite(self.timeout) and self.timeout > 0):
            raise ConfigurationError(f"timeout is {self.timeout!r}, expected seconds above 0")
        if self.retries < 0:
            raise ConfigurationError(f"retries is {self.retries!r}, expected 0 or more")

    @classmethod
    def from_environment(
        cls,
        url: str | None,
        api_key: str | None,
        timeout: float,
        retries: int,
        headers: Mapping[str, str] | None,
    ) -> Options:
        """Fill what was not given from ``ENGRAM_URL`` and ``ENGRAM_API_KEY``."""
        return cls(
            url=url or os.environ.get("ENGRAM_URL") or DEFAULT_URL,
            api_key=api_key or os.environ.get("ENGRAM_API_KEY") or None,
            timeout=timeout,
            retries=retries,
            headers=dict(headers or {}),
        )

    @property
    def public_url(self) -> str:
        """The URL without a user name or password, for messages."""
        return str(httpx2.URL(self.url).copy_with(userinfo=b""))


def _check_url(url: str) -> None:
    """Refuse what no request could be sent to."""
    expected = "expected a form like http://127.0.0.1:8000 (ENGRAM_URL or url)"
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ConfigurationError(f"the server URL {url!r} is not one ({error}); {expected}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ConfigurationError(f"the server URL is {url!r}, {expected}")
