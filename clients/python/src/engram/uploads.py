"""Bodies that are sent as they are read, so that a large one never is in memory as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx2

R = TypeVar("R")

CHUNK_BYTES = 256 * 2**10
"""Sent at once; a server bounds how many chunks a body may come in."""


@dataclass(frozen=True)
class Upload:
    """A body and its headers.

    Attributes:
        chunks: Returns the body from its beginning.
        headers: Its headers.
        is_repeatable: Whether it can be sent again.
    """

    chunks: Callable[[], Iterator[bytes]]
    headers: Mapping[str, str]
    is_repeatable: bool

    @classmethod
    def of_file(cls, path: Path, headers: Mapping[str, str]) -> Upload:
        """Send a file as it stands."""

        def chunks() -> Iterator[bytes]:
            with path.open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk

        return cls(chunks, {**headers, "Content-Length": str(path.stat().st_size)}, is_repeatable=True)

    @classmethod
    def of_items(
        cls, items: Iterable[R], line: Callable[[int, R], bytes], headers: Mapping[str, str]
    ) -> Upload:
        """Send a line for each item; what can be iterated only once can be sent only once."""

        def chunks() -> Iterator[bytes]:
            waiting = bytearray()
            for index, item in enumerate(items):
                waiting += line(index, item)
                if len(waiting) >= CHUNK_BYTES:
                    yield bytes(waiting)
                    waiting.clear()
            yield bytes(waiting)

        repeatable = not isinstance(items, Iterator)
        return cls(chunks, {**headers, "Transfer-Encoding": "chunked"}, repeatable)

    def stream(self) -> UploadStream:
        """Return the body for one attempt."""
        return UploadStream(self.chunks)


class UploadStream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body for either client; the asynchronous one reads it between two sends."""

    def __init__(self, chunks: Callable[[], Iterator[bytes]]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from filter(None, self._chunks())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in filter(None, self._chunks()):
            yield chunk
