"""Follows the model repository on disk: loads bundles that came or changed, unloads those that went.

A bundle is touched once it has stayed the same from one look to the next, and loaded once all its checksums
hold; half of one, still being copied, is left alone. An export, which renames a finished folder into place,
is seen whole at once.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from server.contract.bundle import Bundle, versions_of
from server.errors import EngramError
from server.runtime.repository import Repository, bundles_in

logger = logging.getLogger(__name__)

Look = tuple[tuple[str, int, int], ...]
"""What a bundle looks like from outside: place, time of change and size of each of its files."""


class Watch:
    """Looks at the folder of a repository again and again."""

    def __init__(self, repository: Repository, every_s: float) -> None:
        self._repository = repository
        self._every_s = every_s
        self._last: dict[str, Look] = {}
        self._handled: dict[str, Look] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        self._last = await asyncio.to_thread(looks, self._repository.folder)
        ready = {model.name for model in self._repository.models() if model.state == "ready"}
        self._handled = {name: look for name, look in self._last.items() if name in ready}
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except OSError as error:
                logger.warning("the model repository cannot be read: %s", error.strerror)

    async def look(self) -> None:
        """Compare the folder with the last look, and act on what has settled.

        Raises:
            OSError: the folder cannot be read.
        """
        now = await asyncio.to_thread(looks, self._repository.folder)
        last, self._last = self._last, now
        for name, look in now.items():
            if look == last.get(name) and look != self._handled.get(name):
                self._handled[name] = look
                await self._load(name)
        for name in self._handled.keys() - now.keys() - last.keys():
            del self._handled[name]
            await self._unload(name)

    async def _load(self, name: str) -> None:
        references = self._repository.wanted(name)
        if not references:
            return
        try:
            await asyncio.to_thread(verify, self._repository.folder / name)
            for reference in references:
                await self._repository.load_here(reference)
        except EngramError as error:
            logger.warning("the bundle %s changed and is left alone: %s", name, error.message)

    async def _unload(self, name: str) -> None:
        try:
            await self._repository.unload_here(name)
        except EngramError as error:
            logger.warning("the bundle %s is gone: %s", name, error.message)


def looks(folder: Path) -> dict[str, Look]:
    """Return what every bundle of a folder looks like, without reading any.

    Raises:
        OSError: the folder is not there; a disk that is away for a moment takes no model with it.
    """
    folder.stat()
    return {name: _look(folder / name) for name in bundles_in(folder)}


def verify(folder: Path) -> None:
    """Check every version of a bundle.

    Raises:
        BundleError: one is incomplete or altered.
    """
    for version in versions_of(folder) or [0]:
        Bundle.open(folder, version)


def _look(folder: Path) -> Look:
    files = []
    for path in sorted(folder.rglob("*")):
        try:
            stat = path.stat()
        except OSError:
            continue
        files.append((path.relative_to(folder).as_posix(), stat.st_mtime_ns, stat.st_size))
    return tuple(files)
