"""The database of batches: what is accepted, leased, stored, cancelled and removed."""

import logging
import sqlite3
from contextlib import closing

import pytest

from server.batches.database import Database, postgresql_url
from server.batches.keeping import STALE_S
from server.batches.receiving import Piece
from server.batches.records import Line, NoSuchBatch, Sender
from server.errors import InvalidRequest, Overloaded, StorageFull, StoreUnavailable
from tests.server.batches.conftest import ADA, KEEP_S, LEASE_S

BEN = Sender("ben")


# Receiving


def test_a_batch_is_seen_once_it_is_whole(store):
    batch_id = store.receiving.begin(Sender("ada"), "qa")
    assert store.keeping.list("ada", 10) == []
    with pytest.raises(NoSuchBatch):
        store.keeping.get("ada", batch_id)
    batch = store.receiving.finish(batch_id, Sender("ada"), 5, 2, "digest")
    assert (batch.state, batch.total, batch.done, batch.failed, batch.invalid) == ("queued", 5, 0, 2, 2)
    assert store.keeping.list("ada", 10) == [batch]


def test_a_repeat_answers_the_same_batch_and_leaves_nothing_behind(store):
    sender = Sender("ada", "key")
    first = store.submit(sender=sender)
    again = store.submit(sender=sender)
    assert again.id == first.id
    assert store.keeping.list("ada", 10) == [again]
    parts = [part for _ in range(9) for part in store.working.claim(1)]
    assert [part.key.batch_id for part in parts] == [first.id] * 3


def test_another_body_under_the_same_key_is_refused(store):
    sender = Sender("ada", "key")
    first = store.submit(sender=sender)
    with pytest.raises(InvalidRequest, match="Idempotency-Key"):
        store.submit(sender=sender, digest="another")
    assert [batch.id for batch in store.keeping.list("ada", 10)] == [first.id]
    assert store.submit(sender=Sender("ben", "key"), digest="another").id != first.id


def test_one_key_has_only_so_many_unfinished_batches_and_may_repeat_them(store):
    batches = [store.submit(sender=Sender("ada", str(number))) for number in range(3)]
    with pytest.raises(Overloaded):
        store.submit()
    assert store.submit(sender=Sender("ada", "0")).id == batches[0].id
    store.submit(sender=BEN)
    store.keeping.cancel("ada", batches[0].id)
    store.submit()


# Work


def test_every_part_is_leased_once(store):
    batch = store.submit(lines=5, part=2)
    parts = store.working.claim(2) + store.process().claim(2)
    assert [[line.number for line in part.lines] for part in parts] == [[0, 1], [2, 3], [4]]
    assert [line.body for line in parts[0].lines] == [b"line 0", b"line 1"]
    assert store.working.claim(2) == []
    assert store.keeping.get("ada", batch.id).state == "running"


def test_batches_take_turns(store):
    batches = [store.submit(sender=Sender(name)) for name in ("ada", "ben")]
    order = [store.working.claim(1)[0].key.batch_id for _ in range(4)]
    assert order == [batch.id for batch in batches] * 2


def test_a_batch_ends_with_its_last_part(store):
    batch = store.submit(lines=4, part=2, invalid=[1])
    first, second = store.working.claim(2)
    assert store.finish(second).ended == ()
    running = store.keeping.get("ada", batch.id)
    assert (running.state, running.done, running.failed) == ("running", 1, 1)
    assert running.eta_s is not None
    assert store.finish(first).ended == ((batch.id, "done"),)
    ended = store.keeping.get("ada", batch.id)
    assert (ended.state, ended.done, ended.failed, ended.eta_s) == ("done", 3, 1, None)
    assert ended.expires_at == pytest.approx(ended.ended_at + KEEP_S)


def test_what_a_dead_process_had_is_taken_over_without_what_it_had_stored(store, clock):
    batch = store.submit(lines=4, part=4)
    [part] = store.working.claim(1)
    store.finish(part, lines=part.lines[1:3])
    other = store.process()
    clock.ahead = LEASE_S - 1
    assert other.claim(1) == []
    clock.ahead = LEASE_S + 1
    [taken] = other.claim(1)
    assert [line.number for line in taken.lines] == [0, 3]
    store.finish(taken, other)
    assert store.results(batch) == [0, 1, 2, 3]
    assert store.keeping.get("ada", batch.id).done == 4


def test_whoever_lost_a_lease_stores_nothing(store, clock):
    batch = store.submit(lines=2, part=2)
    [part] = store.working.claim(1)
    clock.ahead = LEASE_S + 1
    other = store.process()
    [taken] = other.claim(1)
    assert store.finish(part).lost == {part.key}
    assert store.results(batch) == []
    assert store.finish(taken, other).lost == frozenset()
    assert store.finish(taken, other).lost == {part.key}
    ended = store.keeping.get("ada", batch.id)
    assert (ended.state, ended.done) == ("done", 2)


def test_results_that_are_there_already_are_not_stored_again(store):
    batch = store.submit(lines=3, part=3)
    [part] = store.working.claim(1)
    store.finish(part, lines=part.lines[:1])
    assert store.finish(part, lines=part.lines[:1]).lost == {part.key}  # as if the first had never been told
    assert store.keeping.get("ada", batch.id).done == 1


def test_what_is_handed_back_is_free_at_once(store):
    batch = store.submit(lines=2, part=2)
    [part] = store.working.claim(1)
    store.finish(part, lines=part.lines[:1])
    store.working.hand_back([part.key])
    [again] = store.process().claim(1)
    assert [line.number for line in again.lines] == [1]
    assert again.attempts == 1
    assert store.results(batch) == [0]


def test_a_batch_that_cannot_be_answered_waits_and_says_why(store, clock):
    batch = store.submit()
    [part] = store.working.claim(1)
    store.working.hand_back([part.key], 5.0, "the model is loading")
    assert store.working.claim(1) == []
    assert store.keeping.get("ada", batch.id).reason == "the model is loading"
    clock.ahead = 6.0
    [part] = store.working.claim(1)
    store.finish(part)
    assert store.keeping.get("ada", batch.id).reason is None


def test_a_batch_that_was_cancelled_waits_for_nothing(store):
    batch = store.submit()
    [part] = store.working.claim(1)
    store.keeping.cancel("ada", batch.id)
    store.working.hand_back([part.key], 5.0, "the model is loading")
    assert store.keeping.get("ada", batch.id).reason is None


def test_attempts_count_leases_without_a_result(store, clock):
    store.submit(lines=2, part=2)
    seen = []
    for turn in range(4):
        clock.ahead += LEASE_S + 1
        [part] = store.process().claim(1)
        seen.append(part.attempts)
        if turn == 1:
            clock.ahead += LEASE_S + 1
            [part] = store.working.claim(1)
            store.finish(part, lines=part.lines[:1])
    assert seen == [1, 2, 1, 2]


# Keeping


def test_results_come_in_order_and_stop_at_the_first_that_is_missing(store):
    batch = store.submit(lines=6, part=2)
    first, _, third = store.working.claim(3)
    store.finish(third)
    assert store.results(batch) == []
    store.finish(first)
    assert store.results(batch) == [0, 1]
    assert store.results(batch, offset=1) == [1]
    assert store.results(batch, offset=2) == []
    store.keeping.cancel("ada", batch.id)
    assert store.results(batch) == [0, 1, 4, 5]
    assert store.results(batch, offset=2) == [4, 5]


def test_a_page_of_results_is_bounded_in_bytes(store, monkeypatch):
    monkeypatch.setattr("server.batches.keeping.PAGE_BYTES", 20)
    batch = store.submit(lines=6, part=6)
    store.finish(*store.working.claim(1))
    assert store.results(batch) == [0, 1]
    assert store.results(batch, offset=2) == [2, 3]


def test_nobody_sees_the_batches_of_another(store):
    batch = store.submit()
    store.finish(*store.working.claim(1))
    for call in (store.keeping.get, store.keeping.cancel):
        with pytest.raises(NoSuchBatch):
            call("ben", batch.id)
    with pytest.raises(NoSuchBatch):
        store.keeping.results("ben", batch.id, 0)
    assert store.keeping.list("ben", 10) == []
    assert store.keeping.get("ada", batch.id).is_open


def test_a_list_goes_on_where_another_ended(store):
    names = [store.submit().id for _ in range(3)]
    page = store.keeping.list("ada", 2)
    assert [batch.id for batch in page] == names[:0:-1]
    assert [batch.id for batch in store.keeping.list("ada", 2, page[-1].id)] == names[:1]


def test_what_is_cancelled_is_not_worked_on(store):
    batch = store.submit()
    [part] = store.working.claim(1)
    assert store.keeping.cancel("ada", batch.id).state == "cancelled"
    assert store.finish(part).lost == {part.key}
    assert store.working.claim(1) == []
    assert store.keeping.cancel("ada", batch.id).state == "cancelled"


def test_a_batch_that_has_ended_cannot_be_cancelled(store):
    batch = store.submit(lines=2)
    store.finish(*store.working.claim(1))
    assert store.keeping.cancel("ada", batch.id).state == "done"


def test_what_has_expired_is_removed_and_nothing_else(store, clock, monkeypatch):
    monkeypatch.setattr("server.batches.keeping.SWEEP_LINES", 2)
    old = store.submit(lines=5, part=5)
    store.finish(*store.working.claim(1))
    half = store.receiving.begin(Sender("ada"), "qa")
    waiting = store.submit()
    clock.ahead = KEEP_S - 1
    assert store.keeping.sweep() == 0
    clock.ahead = max(KEEP_S, STALE_S) + 1
    assert store.keeping.sweep() == 2
    assert [batch.id for batch in store.keeping.list("ada", 10)] == [waiting.id]
    with pytest.raises(NoSuchBatch):
        store.keeping.results("ada", old.id, 0)
    assert half not in {part.key.batch_id for part in store.working.claim(9)}


def test_what_has_expired_is_not_seen_any_more(store, clock):
    sender = Sender("ada", "key")
    old = store.submit(lines=5, part=5, sender=sender)
    store.finish(*store.working.claim(1))
    clock.ahead = KEEP_S + 1
    assert store.keeping.list("ada", 10) == []
    with pytest.raises(NoSuchBatch):
        store.results(old)
    new = store.submit(sender=sender, digest="another")
    assert new.id != old.id
    assert store.submit(sender=sender, digest="another").id == new.id
    assert store.keeping.sweep() == 1
    assert store.keeping.list("ada", 10) == [new]


# The database


def test_a_full_disk_is_told_and_loses_nothing(store, database):
    batch = store.submit(lines=2, part=2)
    [part] = store.working.claim(1)
    pages = database.read(lambda connection, _: connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    database.write(lambda connection, _: connection.exec_driver_sql(f"PRAGMA max_page_count={pages}").all())
    with pytest.raises(StorageFull):
        store.submit(lines=5000, part=5000, sender=BEN)
    database.write(lambda connection, _: connection.exec_driver_sql("PRAGMA max_page_count=10000").all())
    store.finish(part)
    assert store.results(batch) == [0, 1]


def test_a_file_that_cannot_be_opened_is_told(tmp_path):
    with pytest.raises(StoreUnavailable):
        Database(tmp_path / "no" / "folder.sqlite3")
    (tmp_path / "text").write_text("This is no database, and it is long enough to be seen as none." * 9)
    with pytest.raises(StoreUnavailable):
        Database(tmp_path / "text")


def test_a_database_is_found_again(store, database, tmp_path):
    batch = store.submit()
    database.close()
    again = Database(tmp_path / "batches.sqlite3")
    assert type(store)(again).keeping.get("ada", batch.id) == batch
    again.close()


@pytest.mark.parametrize("url", ["mysql://host/name", "no url", "sqlite:///file"])
def test_only_postgresql_is_reached_by_url(url):
    with pytest.raises(ValueError, match="it"):
        postgresql_url(url)


def test_a_url_gets_the_installed_driver():
    assert postgresql_url("postgresql://ada:secret@host/name").drivername == "postgresql+psycopg"


def test_a_database_that_does_not_answer_is_not_waited_for_long():
    assert postgresql_url("postgresql://host/name?sslmode=require").query == {
        "sslmode": "require",
        "connect_timeout": "10",
    }
    assert postgresql_url("postgresql://host/name?connect_timeout=3").query == {"connect_timeout": "3"}


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_the_room_of_what_is_gone_goes_back_to_the_disk(store, database, clock, monkeypatch, end):
    monkeypatch.setattr("server.batches.database.VACUUM_PAGES", 8)
    batch_id = store.receiving.begin(ADA, "qa")
    parts = [[Line(number, bytes(100_000))] for number in range(20)]
    store.receiving.add(batch_id, Piece(parts, []))
    store.receiving.finish(batch_id, ADA, 20, 0, "d")
    store.keeping.cancel("ada", batch_id)
    clock.ahead = KEEP_S + 1 if end == "expired" else 0.0
    store.keeping.sweep()

    def pages(name):
        return database.read(lambda connection, _: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())

    assert pages("freelist_count") < 8
    assert pages("page_count") < 40  # of 500


def test_removing_much_takes_little_room(store, database, tmp_path):
    batch_id = store.receiving.begin(ADA, "qa")
    store.receiving.add(batch_id, Piece([[Line(number, bytes(100_000))] for number in range(20)], []))
    with closing(sqlite3.connect(tmp_path / "batches.sqlite3")) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    store.receiving.discard(batch_id)
    assert (tmp_path / "batches.sqlite3-wal").stat().st_size < 200_000


def test_a_file_that_is_in_use_gives_its_room_back_later(database, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr("server.batches.database.VACUUM_PAGES", 0)
    with closing(sqlite3.connect(tmp_path / "batches.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        database.read(lambda connection, _: connection.exec_driver_sql("PRAGMA busy_timeout=1").all())
        with pytest.raises(StoreUnavailable):
            database.give_back_room()
