"""The tables, alike in SQLite and PostgreSQL.

A line is in exactly one place: in the body of a part until its part is whole, and in the results once it has
one. The primary key of the results is what makes two answers for a line impossible.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()

RECEIVING = "receiving"
"""The state of a batch whose lines still come; nobody sees it."""

BATCHES = Table(
    "engram_batches",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("idempotency_key", String(255)),
    Column("digest", String(64)),
    Column("task", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("total", BigInteger, nullable=False, default=0),
    Column("done", BigInteger, nullable=False, default=0),
    Column("failed", BigInteger, nullable=False, default=0),
    Column("invalid", BigInteger, nullable=False, default=0),
    Column("reason", Text),
    Column("created_at", Double, nullable=False),
    Column("touched_at", Double, nullable=False),
    Column("not_before", Double, nullable=False, default=0.0),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("expires_at", Double),
    UniqueConstraint("owner", "idempotency_key"),
    Index("engram_batches_by_state", "state", "touched_at"),
    Index("engram_batches_by_owner", "owner", "created_at", "id"),
)
"""``touched_at`` is when a batch last got lines or was last worked on: the one that waits longest is next."""

PARTS = Table(
    "engram_batch_parts",
    METADATA,
    Column("batch_id", String(64), primary_key=True),
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
    Column("holder", String(64)),
    Column("lease_until", Double, nullable=False, default=0.0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

RESULTS = Table(
    "engram_batch_results",
    METADATA,
    Column("batch_id", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
