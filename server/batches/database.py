"""The database behind batches: a SQLite file, or PostgreSQL, by one set of statements.

Every call is a transaction of its own and blocks, so it belongs on a thread. A process that is killed leaves
nothing half done; several may use the same database.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.schema import CreateIndex, CreateTable

from server.batches.tables import METADATA
from server.errors import StorageFull, StoreUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

Work = Callable[[Connection, float], T]
"""What happens in a transaction, given the moment: seconds since 1970 by the database's own clock."""

BUSY_MS = 30_000
"""How long a writer waits for another one of the same SQLite file."""

ATTEMPTS = 5
"""How often a transaction is tried that the database itself gave up for the sake of another."""

VACUUM_PAGES = 4096
"""Pages of 4 kB that a file gives back at once; fewer than these it keeps for what comes next."""

DISK_FULL = "53100"
CONFLICTS = frozenset({"40001", "40P01"})
"""States of SQL: a full disk; a serialization failure and a deadlock."""

CONNECT_S = 10
"""How long PostgreSQL may take to let us in, unless its URL has a ``connect_timeout``: the system would wait
for minutes."""

PRAGMAS = (
    "auto_vacuum=INCREMENTAL",
    "journal_mode=WAL",
    f"journal_size_limit={VACUUM_PAGES * 4096}",
    "synchronous=FULL",
    "secure_delete=FAST",
)
"""How a file is used. Some builds of SQLite write zeros over all that is removed: a full disk would have no
room to remove a large batch, and everybody would wait for it."""

SCHEMA_LOCK = 0x656E6772
"""Number of PostgreSQL's advisory lock under which the tables are made."""


class Database:
    """Opens the database, makes the tables, and runs transactions.

    Raises, here and in every call:
        StorageFull: the disk is full; nothing has changed.
        StoreUnavailable: it cannot be reached or opened, or is broken; nothing is known to have changed.
    """

    def __init__(self, target: Path | str) -> None:
        """Open a SQLite file, or PostgreSQL by its URL."""
        self.file = target if isinstance(target, Path) else None
        url = URL.create("sqlite", database=str(target)) if self.file else postgresql_url(str(target))
        with _told():
            self._engine = _sqlite(url) if self.file else create_engine(url, pool_pre_ping=True)
            self.write(self._make_tables)

    @property
    def is_postgresql(self) -> bool:
        """Whether this is PostgreSQL, which several machines may share."""
        return self.file is None

    def write(self, work: Work[T]) -> T:
        """Run a transaction that changes something; all of it holds, or nothing."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with _told(), self._engine.begin() as connection:
                    return work(connection, self._now(connection))
            except _Conflict as error:
                if attempt == ATTEMPTS:
                    raise StoreUnavailable("the database is too busy") from error
        raise AssertionError

    def read(self, work: Work[T]) -> T:
        """Run a transaction that changes nothing, and that no writer waits for."""
        options = {"reading": True, "stream_results": True}
        with _told(), self._engine.connect().execution_options(**options) as connection:
            return work(connection, self._now(connection))

    def free_bytes(self) -> int | None:
        """Return how much room the disk has; ``None`` where that is not for this machine to see."""
        return None if self.file is None else shutil.disk_usage(self.file.absolute().parent).free

    def give_back_room(self) -> bool:
        """Let the file shrink by some of the pages that nothing uses, and say whether to go on.

        PostgreSQL looks after itself.
        """
        if self.file is None:
            return False
        with _told(), closing(self._engine.raw_connection()) as connection:
            driver: Any = connection.driver_connection
            before = _unused_pages(driver)
            if before < VACUUM_PAGES:
                return False
            # As a script, because this statement does one page for each row that is fetched of it.
            driver.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
            return VACUUM_PAGES <= _unused_pages(driver) < before

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _now(self, connection: Connection) -> float:
        if self.file is not None:
            return time.time()
        return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())

    def _make_tables(self, connection: Connection, _: float) -> None:
        if self.is_postgresql:  # where IF NOT EXISTS alone is no protection against another process
            connection.execute(select(func.pg_advisory_xact_lock(SCHEMA_LOCK)))
        for table in METADATA.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in sorted(table.indexes, key=lambda each: str(each.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))


def postgresql_url(target: str) -> URL:
    """Return the URL with the driver that is installed.

    Raises:
        ValueError: it is no URL of PostgreSQL; the message does not repeat it, for it may hold a password.
    """
    try:
        url = make_url(target)
    except ArgumentError:
        raise ValueError("it is no URL such as postgresql://user:password@host/database") from None
    if url.drivername not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise ValueError("its scheme is not postgresql")
    return url.set(drivername="postgresql+psycopg", query={"connect_timeout": str(CONNECT_S), **url.query})


def _sqlite(url: URL) -> Engine:
    """Return an engine whose transactions begin as what they are: writers queue up, readers never wait."""
    engine = create_engine(url, connect_args={"timeout": BUSY_MS / 1e3})

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # the driver would begin transactions when it thinks fit
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _unused_pages(driver: Any) -> int:
    return int(driver.execute("PRAGMA freelist_count").fetchone()[0])


class Duplicate(Exception):
    """A row exists that was to be inserted: an earlier transaction, which seemed lost, held after all."""


class _Conflict(Exception):
    """The transaction was given up for another one; it may be tried again."""


@contextmanager
def _told() -> Iterator[None]:
    """Tell what the database says in the words of this server."""
    try:
        yield
    except IntegrityError as error:
        raise Duplicate from error
    except (DBAPIError, sqlite3.Error) as error:  # the latter where the driver is spoken to past the library
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        state = getattr(cause, "sqlstate", None)
        if code == sqlite3.SQLITE_FULL or state == DISK_FULL:
            raise StorageFull("the disk that keeps batches is full") from error
        if state in CONFLICTS:
            raise _Conflict from error
        why = " ".join(str(cause).split())
        logger.error("the database of batches: %s", why)  # noqa: TRY400 - all that matters of it
        raise StoreUnavailable("the database of batches cannot be used now; the log has more") from error
    except OSError as error:
        raise StoreUnavailable(f"the database of batches: {error.strerror}") from error


def this_process() -> str:
    """Return a name for this process that no other has, on any machine."""
    return f"{os.getpid()}-{os.urandom(12).hex()}"


def rows_changed(result: Any) -> int:
    """Return how many rows a statement changed."""
    return int(result.rowcount)
