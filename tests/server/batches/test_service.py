"""Batches as the API sees them: what waits for a database, and what goes on after trouble with it."""

import asyncio
import logging
import time
from dataclasses import replace

import pytest

from server.batches import service
from server.batches.pace import Pace
from server.batches.records import BatchCounts
from server.batches.service import Batches, BatchOptions
from server.errors import StoreUnavailable
from tests.server.fakes import until


@pytest.fixture
async def batches(tmp_path):
    (tmp_path / "batches.sqlite3").touch()
    options = BatchOptions(tmp_path / "batches.sqlite3", None, 1000, 100, 0, 3, 60.0, 10.0)
    batches = Batches(options, None, Pace(4, 1, int), BatchCounts())
    yield batches
    await batches.stop()


async def test_all_who_wait_for_a_database_hear_at_once_that_it_cannot_be_reached(batches, monkeypatch):
    tried = []

    def slowly(_):
        tried.append(time.sleep(0.1))
        raise StoreUnavailable("nobody is there")

    monkeypatch.setattr(service, "_open_database", slowly)
    told = await asyncio.gather(*(batches.get("ada", "id") for _ in range(9)), return_exceptions=True)
    assert [error.message for error in told] == ["nobody is there"] * 9
    assert len(tried) == 1
    with pytest.raises(StoreUnavailable):
        await batches.get("ada", "id")
    assert len(tried) == 2


async def test_what_has_expired_is_removed_after_trouble_too(batches, monkeypatch, caplog):
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr(service, "FIRST_WAIT_S", 0.01)
    swept = []

    class Keeping:
        def sweep(self):
            swept.append(None)
            if len(swept) < 3:
                raise (StoreUnavailable("it is away"), ZeroDivisionError)[len(swept) - 1]
            return 0

    opened = await batches._open()
    monkeypatch.setattr(batches, "_opened", replace(opened, keeping=Keeping()))
    batches.start()
    await until(lambda: len(swept) == 3)
