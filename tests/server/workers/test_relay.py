"""Workers and supervisor over socket pairs, in one process: what reaches whom, and what is remembered."""

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest

from server.errors import ModelNotFound, ModelNotReady, RunError, ShuttingDown
from server.workers.channel import LONGEST_FRAME, Channel, Failure
from server.workers.member import Member
from server.workers.relay import Relay
from tests.server.fakes import until


class Worker:
    """A member with orders that write down what they are told."""

    def __init__(self, name, end):
        self.name = name
        self.done = []
        self.failure = None
        self.counts = 0
        self.orphaned = False
        self.member = Member(end, self._orphan)

    def _orphan(self):
        self.orphaned = True

    async def _change(self, verb, argument):
        self.done.append((verb, argument.decode()))
        if self.failure:
            raise self.failure
        return b""

    async def join(self):
        async def load(argument):
            return await self._change("load", argument)

        async def unload(argument):
            return await self._change("unload", argument)

        async def count(_):
            return str(self.counts).encode()

        async def inherit(counts):
            self.counts += int(counts)
            return b""

        orders = {"load": load, "unload": unload, "snapshot": count, "bequeath": count, "inherit": inherit}
        await self.member.join(orders)


class Fleet:
    """The supervisor's side, with workers that come and go."""

    def __init__(self):
        self.relay = Relay()
        self.ends = {}
        self.talks = {}
        self.theirs = []

    async def start(self, place, join=True):
        ours, theirs = socket.socketpair()
        self.theirs.append(theirs)
        worker = Worker(f"worker {place}", theirs)
        channel = await Channel.over(ours)
        self.ends[place] = channel

        async def talk():
            with self.relay.member(place, channel):
                async for message in channel.messages():
                    self.relay.take(place, message)

        self.talks[place] = asyncio.create_task(talk())
        if join:
            await worker.join()
        return worker

    async def kill(self, place):
        self.ends[place].close()
        await self.talks[place]


@asynccontextmanager
async def fleet_of(count):
    fleet = Fleet()
    try:
        yield fleet, [await fleet.start(place) for place in range(count)]
    finally:
        for place, channel in fleet.ends.items():
            channel.close()
            await fleet.talks[place]
        await asyncio.sleep(0.05)
        for end in fleet.theirs:
            end.close()


async def test_an_order_reaches_every_worker_and_the_one_that_asked():
    async with fleet_of(3) as (_, workers):
        assert await workers[1].member.everywhere("load", b"tiny:2") == [b"", b"", b""]
        assert [worker.done for worker in workers] == [[("load", "tiny:2")]] * 3


async def test_counts_of_the_others_are_gathered():
    async with fleet_of(3) as (_, workers):
        for number, worker in enumerate(workers, 1):
            worker.counts = number
        assert sorted(await workers[0].member.elsewhere("snapshot")) == [b"2", b"3"]


async def test_orders_given_at_the_same_time_are_kept_apart():
    async with fleet_of(2) as (_, workers):
        asked = [worker.member.everywhere("load", b"m%d" % i) for i in range(20) for worker in workers]
        assert await asyncio.gather(*asked) == [[b"", b""]] * 40
        assert all(len(worker.done) == 40 for worker in workers)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (ModelNotFound("there is no model", models=["tiny"]), ModelNotFound),
        (ModelNotReady("altered", state="failed"), ModelNotReady),
        (ValueError("/secret/path"), RunError),
    ],
    ids=["not-found", "not-ready", "surprise"],
)
async def test_what_goes_wrong_in_one_worker_is_told_to_the_one_that_asked(failure, expected):
    async with fleet_of(2) as (_, workers):
        workers[1].failure = failure
        with pytest.raises(expected) as caught:
            await workers[0].member.everywhere("load", b"tiny")
        assert "/secret" not in caught.value.message
        if expected is ModelNotFound:
            assert caught.value.details == {"models": ["tiny"]}


async def test_a_new_worker_does_what_the_others_did():
    async with fleet_of(2) as (fleet, workers):
        for verb, name in [("load", b"a"), ("unload", b"b"), ("unload", b"a"), ("load", b"b:2")]:
            await workers[0].member.everywhere(verb, name)
        workers[1].failure = ModelNotReady("altered")
        with pytest.raises(ModelNotReady):
            await workers[0].member.everywhere("load", b"broken")
        await fleet.kill(1)
        successor = await fleet.start(1)
        assert successor.done == [("unload", "b"), ("unload", "a"), ("load", "b:2")]


async def test_a_successor_goes_on_counting_and_is_stood_in_for_meanwhile():
    async with fleet_of(2) as (fleet, workers):
        workers[1].counts = 5
        await workers[1].member.leave()
        await workers[0].member.everywhere("load", b"x")  # the bequest has been read by now
        await fleet.kill(1)
        assert await workers[0].member.elsewhere("snapshot") == [b"5"]
        successor = await fleet.start(1)
        assert successor.counts == 5
        assert await workers[0].member.elsewhere("snapshot") == [b"5"]


async def test_a_worker_that_dies_over_an_order_is_not_waited_for():
    async with fleet_of(2) as (fleet, workers):
        await fleet.start(2, join=False)  # never carries anything out
        asking = asyncio.create_task(workers[0].member.everywhere("load", b"tiny"))
        await until(lambda: workers[1].done)
        await asyncio.sleep(0.02)
        assert not asking.done()
        await fleet.kill(2)
        assert await asking == [b"", b""]


async def test_a_worker_without_supervisor_ends_and_answers_who_waits():
    async with fleet_of(1) as (fleet, [worker]):
        gate = asyncio.Event()

        async def wait(_):
            await gate.wait()
            return b""

        worker.member._orders = {**worker.member._orders, "wait": wait}
        asking = asyncio.create_task(worker.member.everywhere("wait"))
        await asyncio.sleep(0.02)
        await fleet.kill(0)
        with pytest.raises(ShuttingDown):
            await asking
        assert worker.orphaned
        with pytest.raises(ShuttingDown):
            await worker.member.everywhere("load", b"tiny")
        gate.set()


async def test_a_worker_that_has_left_does_not_mind_the_end_of_the_channel():
    async with fleet_of(1) as (fleet, [worker]):
        await worker.member.leave()
        await fleet.kill(0)
        await asyncio.sleep(0.02)
        assert not worker.orphaned


async def test_a_frame_beyond_all_measure_ends_the_channel():
    ours, theirs = socket.socketpair()
    channel = await Channel.over(ours)
    theirs.sendall((LONGEST_FRAME + 1).to_bytes(4, "big"))
    assert [message async for message in channel.messages()] == []
    theirs.close()
    channel.close()


def test_only_errors_that_orders_raise_come_out_of_the_channel():
    assert type(Failure("KeyboardInterrupt", "x").error()) is RunError
