"""Work for a client that leaves: stopped in the moment its departure is noted, and only then."""

import asyncio

import pytest

from server.api.disconnect import Departure, while_connected
from server.api.http_errors import ClientGone


async def nothing_to_receive():
    raise AssertionError("a connection that notes departures is not asked for them")


@pytest.fixture
def departure():
    return Departure()


@pytest.fixture
def ask(departure):
    """Begin to await a future for the client of ``departure``."""

    async def ask(awaited):
        async def work():
            return await awaited

        asking = asyncio.create_task(while_connected(work(), {"departure": departure}, nothing_to_receive))
        await asyncio.sleep(0)
        return asking

    return ask


async def test_what_is_awaited_is_cancelled_before_anything_else_runs(ask, departure):
    awaited = asyncio.get_running_loop().create_future()
    asking = await ask(awaited)
    departure.note()
    assert awaited.cancelled()
    with pytest.raises(ClientGone):
        await asking


async def test_nothing_begins_for_a_client_that_is_gone(ask, departure):
    departure.note()
    with pytest.raises(ClientGone):
        await (await ask(None))


async def test_a_departure_is_noted_once(ask, departure):
    asking = await ask(asyncio.get_running_loop().create_future())
    departure.note()
    departure.note()
    with pytest.raises(ClientGone):
        await asking
    assert asking.cancelling() == 0


async def test_any_other_cancellation_passes(ask, departure):
    asking = await ask(asyncio.get_running_loop().create_future())
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_request_that_has_its_answer_is_left_alone(ask, departure):
    awaited = asyncio.get_running_loop().create_future()
    asking = await ask(awaited)
    awaited.set_result("the answer")
    assert await asking == "the answer"
    departure.note()
    assert departure.task is None
