"""The application in process over a model whose graph is plain arithmetic, so that HTTP tests are instant."""

import asyncio
import time

import httpx2
import pytest

from server.app import create_app
from server.errors import DeadlineExceeded, ModelNotFound, ModelNotReady, ShuttingDown
from server.runtime.executor import Run
from server.runtime.lines import Priority
from server.settings import Settings
from server.tasks import QuestionAnswering
from tests.server.fakes import arithmetic

STORY = ["Anna took the milk.", "Ben went to the garden.", "Anna went to the kitchen."]
QUESTION = {"story": STORY, "question": "Where is the milk?"}


class TinyModel:
    """The tiny bundle without queue and threads.

    ``failure`` is raised instead of answering, ``gate`` holds answers back, ``arrivals`` counts requests.
    """

    name, version, state, reason, executors = "tiny", 1, "ready", None, 1

    def __init__(self, bundle):
        self.bundle = bundle
        self.task = QuestionAnswering(max_attention_weights=10)
        self.failure = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrivals = asyncio.Semaphore(0)
        self.time_left = 0.0
        self.priority = None
        self.cancelled = 0

    async def answer(self, request, deadline, priority=Priority.INTERACTIVE, on_events=None):
        self.time_left = deadline - time.monotonic()
        self.priority = priority
        self.arrivals.release()
        if self.failure is not None:
            raise self.failure
        prepared = self.task.prepare(request, self.bundle)
        try:
            await asyncio.wait_for(self.gate.wait(), self.time_left)
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed") from None
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        batch = arithmetic(**{name: array[None] for name, array in prepared.arrays.items()})
        outputs = {name: array[0] for name, array in batch.items()}
        return self.task.interpret(outputs, prepared, self.bundle), Run(outputs, 1, 0.25, 0.5)

    def not_ready(self):
        return ModelNotReady(f"tiny is {self.state}")


class TinyRepository:
    """One model; knows its stages as the real repository does."""

    def __init__(self, model):
        self.model = model
        self.ready = True
        self.closed = False

    async def start(self):
        self.started = True

    def is_ready(self):
        return self.ready

    def models(self):
        return [self.model]

    def find(self, model, task, selector):
        if self.closed:
            raise ShuttingDown("closed")
        found = self.get(model or "tiny")
        if found.state != "ready":
            raise found.not_ready()
        return found

    def get(self, model):
        if model not in ("tiny", "tiny:1"):
            raise ModelNotFound(f"there is no model {model[:50]!r}", models=["tiny:1"])
        return self.model

    def describe(self, name=None):
        card = {"name": "tiny", "versions": [{"version": 1}]}
        return {"models": [card]} if name is None else self.get(name) and card

    async def drain(self):
        self.closed = True

    async def close(self):
        self.closed = True


@pytest.fixture
def settings():
    return Settings(
        max_body_bytes=20_000,
        max_decompressed_bytes=50_000,
        max_batch_items=5,
        batch_concurrency=2,
        gzip_min_bytes=500,
    )


@pytest.fixture
async def model(bundle):
    return TinyModel(bundle)


@pytest.fixture
def repository(model):
    return TinyRepository(model)


@pytest.fixture
def app(settings, repository):
    return create_app(settings, repository)


@pytest.fixture
async def client(app):
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://engram") as client:
        client.headers["Accept-Encoding"] = "identity"
        yield client
