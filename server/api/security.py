"""Who may ask: API keys and admin keys, compared in constant time and re-read when their files change.

HTTP and gRPC both ask ``Keys``, which takes headers and knows nothing else of a request. Only digests of
keys are kept; logs carry a key's name.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from server.errors import Forbidden, Unauthorized
from server.settings import Settings, variable

logger = logging.getLogger(__name__)

RECHECK_S = 1.0
"""How often, at most, a file of keys is looked at for changes."""

_COMMENT = re.compile(r"(^|\s)#.*")
_ENTRY = re.compile(r"(?:(?P<name>[A-Za-z0-9._-]{1,64}):)?(?P<key>[\x21-\x7e]{1,512})")

Headers = Mapping[bytes, bytes]
"""Headers or gRPC metadata, names in lower case."""

Digests = tuple[tuple[bytes, str], ...]
"""The sha256 of each key, with its name."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the name of the key, never the key itself.

    Names may be shared and move from key to key; ``identity`` is that of this very key, and tells no more.
    """

    name: str
    is_admin: bool = False
    identity: str = field(default="anonymous", compare=False)


ANONYMOUS = Caller("anonymous")
"""Who asks without a key where none is required."""


class KeyRing:
    """Keys of one kind, from a setting and from a file that may change at any time."""

    def __init__(
        self,
        kind: str,
        listed: str = "",
        file: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the keys.

        Args:
            kind: the setting that lists them, ``api_keys`` or ``admin_keys``.
            listed: ``KEY`` or ``NAME:KEY``, separated by commas.
            file: the same, one a line, with ``#`` comments.
            clock: seconds, for when to look at the file again.

        Raises:
            ValueError: a key is malformed, or the file cannot be read or holds none; keys are never repeated.
        """
        self.variable = variable(kind)
        self._listed = _digests(enumerate(listed.split(","), 1), self.variable, "entry")
        self._file = file
        self._clock = clock
        self._stamp: tuple[int, ...] = ()
        self._from_file: Digests = ()
        self._look_again = 0.0
        if file is not None:
            try:
                self._read(file)
            except OSError as error:
                raise ValueError(f"{self.variable}_FILE cannot be read: {error.strerror}") from None
            if not self._from_file:
                raise ValueError(f"{self.variable}_FILE holds no key")

    @property
    def is_set(self) -> bool:
        """Whether keys were configured; a file that is emptied later admits nobody."""
        return bool(self._listed) or self._file is not None

    def name_of(self, digest: bytes) -> str | None:
        """Return the name of the key with this sha256, comparing with every key whatever matches."""
        self._refresh()
        found = None
        for known, name in self._listed + self._from_file:
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def _refresh(self) -> None:
        """Read the file again if it changed; a file that is gone or broken leaves the keys as they were."""
        if self._file is None or (now := self._clock()) < self._look_again:
            return
        self._look_again = now + RECHECK_S
        before = self._stamp
        try:
            if _stamp(self._file) == before:
                return
            self._read(self._file)
        except OSError as error:
            self._stamp = ()
            if before:  # said once, not every second
                logger.warning("%s_FILE cannot be read, its keys stay: %s", self.variable, error.strerror)
        except ValueError as error:
            logger.warning("%s; the keys stay as they were", error)
        else:
            logger.info("%s_FILE changed, it holds %d keys", self.variable, len(self._from_file))

    def _read(self, file: Path) -> None:
        self._stamp = _stamp(file)
        try:
            lines = file.read_text("ascii").splitlines()
        except UnicodeDecodeError:
            raise ValueError(f"{self.variable}_FILE is not ASCII") from None
        uncommented = ((number, _COMMENT.sub("", line)) for number, line in enumerate(lines, 1))
        self._from_file = _digests(uncommented, f"{self.variable}_FILE", "line")


class Keys:
    """Every key the server knows, and what each opens."""

    def __init__(self, api: KeyRing, admin: KeyRing) -> None:
        self.api = api
        self.admin = admin

    @classmethod
    def of(cls, settings: Settings) -> Keys:
        """Return the keys the settings name.

        Raises:
            ValueError: one is malformed, or a file cannot be read.
        """
        return cls(
            KeyRing("api_keys", _secret(settings.api_keys), settings.api_keys_file),
            KeyRing("admin_keys", _secret(settings.admin_keys), settings.admin_keys_file),
        )

    @property
    def required(self) -> bool:
        """Whether requests must carry a key."""
        return self.api.is_set

    def identify(self, headers: Headers) -> Caller | None:
        """Return who asks, or None when a key is required and there is no good one."""
        token = _token(headers)
        if token is not None:
            digest = hashlib.sha256(token).digest()
            if (name := self.admin.name_of(digest)) is not None:
                return Caller(name, is_admin=True, identity=_identity(digest))
            if (name := self.api.name_of(digest)) is not None:
                return Caller(name, identity=_identity(digest))
        return None if self.required else ANONYMOUS

    def require(self, headers: Headers) -> Caller:
        """Return who asks.

        Raises:
            Unauthorized: a key is required and there is no good one.
        """
        caller = self.identify(headers)
        if caller is None:
            raise Unauthorized("a key is needed: send it as Authorization: Bearer KEY, or as X-API-Key")
        return caller

    def require_admin(self, headers: Headers) -> Caller:
        """Return who asks to load, unload or change something.

        Raises:
            Forbidden: no admin key is set, or this is a good key of the other kind.
            Unauthorized: there is no good key.
        """
        if not self.admin.is_set:
            raise Forbidden(f"administration is off until {self.admin.variable} is set")
        caller = self.identify(headers)
        if caller is None or caller is ANONYMOUS:
            raise Unauthorized("an admin key is needed: send it as Authorization: Bearer KEY")
        if not caller.is_admin:
            raise Forbidden("this key is no admin key")
        return caller


def _identity(digest: bytes) -> str:
    """Return what stands for a key in a database: nothing that this server compares keys with."""
    return hashlib.sha256(b"identity of " + digest).hexdigest()


def _secret(setting: SecretStr | None) -> str:
    return "" if setting is None else setting.get_secret_value()


def _token(headers: Headers) -> bytes | None:
    """Return the key a request carries: the bearer token, else ``X-API-Key``."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return token.strip()
    return headers.get(b"x-api-key")


def _digests(entries: Iterable[tuple[int, str]], source: str, unit: str) -> Digests:
    found: list[tuple[bytes, str]] = []
    for place, text in entries:
        if not (entry := text.strip()):
            continue
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise ValueError(
                f"{source}, {unit} {place}: expected KEY or NAME:KEY without blanks (not shown here)"
            )
        name = match["name"] or f"key-{len(found) + 1}"
        found.append((hashlib.sha256(match["key"].encode("ascii")).digest(), name))
    return tuple(found)


def _stamp(file: Path) -> tuple[int, ...]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino
