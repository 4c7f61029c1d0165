"""Servers that are killed while they work on a batch, and what must be true of it afterwards."""

import json
import random
import signal
import time
from contextlib import contextmanager

import httpx2

import engram
from tests.processes import ROOT, ServerProcess

BUNDLES = ROOT / "model_repository"
PLACES = ("kitchen", "garden", "office", "hallway", "bathroom", "bedroom")


def requests(count):
    """Yield short stories with an answer that follows from their number."""
    for number in range(count):
        place = PLACES[number % len(PLACES)]
        story = ["Mary took the milk.", f"Mary went to the {place}.", "John went to the garden."]
        yield {"story": story, "question": "Where is the milk?", "attention": "none", "id": f"line {number}"}


def is_right(result):
    """Say whether a result is the answer to the request of its number."""
    expected = PLACES[result.index % len(PLACES)]
    return result.id == f"line {result.index}" and result.answer and result.answer.answer == expected


@contextmanager
def server(*options):
    """Start a server with the small reader of stories, and end it however the block ended."""
    started = ServerProcess(BUNDLES, "--models", "dmn-plus-babi", "--log-level", "info", *options)
    try:
        yield started
    finally:
        started.kill()


def client(port):
    return engram.Client(f"http://127.0.0.1:{port}", timeout=60)


def submit(port, count):
    """Submit a batch twice under one key, as a client does that lost the first answer; return its id."""
    with client(port) as asking:
        batch, again = (
            asking.batches.submit("qa", list(requests(count)), idempotency_key="once") for _ in range(2)
        )
    assert batch.id == again.id
    return batch.id


def kill_while_working(options, batch_id, count, seed=0):
    """Start a server again and again, and kill it once it has done a little more; return how far it got."""
    chance, done = random.Random(seed), []
    for _ in range(count):
        with server(*options) as victim:
            with client(victim.port) as asking:
                before = finished(asking, batch_id)
                until(lambda: finished(asking, batch_id) > before)  # noqa: B023 - called at once
                time.sleep(chance.random() * 0.3)
                done.append(finished(asking, batch_id))
            victim.process.send_signal(signal.SIGKILL)
            victim.wait()
    return done


def finished(asking, batch_id):
    batch = asking.batches.get(batch_id)
    return batch.done + batch.failed


def check(port, batch_id, count):
    """Read the results as they come, and make sure that every line has one, which is right."""
    with client(port) as asking:
        indexes, wrong = [], []
        for result in asking.batches.results(batch_id, interval=0.2):
            indexes.append(result.index)
            if not is_right(result):
                wrong.append(result.raw)
        batch = asking.batches.get(batch_id)
    assert indexes == list(range(count))
    assert wrong == []
    assert (batch.state, batch.total, batch.done, batch.failed) == ("done", count, count, 0)


def lines_done(port):
    """Return how many lines this server's process has answered, by its metrics."""
    text = httpx2.get(f"http://127.0.0.1:{port}/metrics").text
    [line] = [
        line for line in text.splitlines() if line.startswith('engram_batch_lines_total{outcome="done"}')
    ]
    return float(line.split()[-1])


def until(holds, seconds=120):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "nothing was done for two minutes"
        time.sleep(0.02)


def write_lines(path, count):
    """Write the requests into a file."""
    with path.open("w") as file:
        for request in requests(count):
            file.write(json.dumps(request) + "\n")
