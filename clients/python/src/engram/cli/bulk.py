"""Long work in small pieces: several requests on their way, results in order, a bar, little memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engram.cli.common import console

T = TypeVar("T")
R = TypeVar("R")

REQUESTS_AT_ONCE = 4
"""Requests that are on their way at the same time: a server joins them into batches."""


def in_order(
    pieces: Iterable[list[T]], work: Callable[[list[T]], R], workers: int = REQUESTS_AT_ONCE
) -> Iterator[tuple[list[T], R]]:
    """Do work on chunks, several at a time, and yield them with what comes of them, in their order.

    Chunks are read as they are needed: twice the number of workers wait at most.
    """
    waiting: deque[tuple[list[T], Future[R]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="engram")
    try:
        for chunk in pieces:
            waiting.append((chunk, pool.submit(work, chunk)))
            if len(waiting) == 2 * workers:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def chunks(texts: Iterable[str], most: int, most_characters: int) -> Iterator[list[str]]:
    """Yield lists of so many texts and characters at most; a text that is longer comes alone."""
    chunk: list[str] = []
    characters = 0
    for text in texts:
        if chunk and characters + len(text) > most_characters:
            yield chunk
            chunk, characters = [], 0
        chunk.append(text)
        characters += len(text)
        if len(chunk) == most:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


@contextmanager
def progress_over(what: str, total: int | None, *, hidden: bool = False) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error, if that is a terminal, and yield what moves it on.

    ``hidden`` is for work that writes to the same terminal as it goes on.
    """
    progress = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console(stderr=True),
        transient=True,
    )
    progress.disable = hidden or not progress.console.is_terminal
    with progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.advance(task, count)
