"""The application over a real repository, whose session answers by arithmetic."""

import re
from contextlib import asynccontextmanager

import httpx2
import pytest

from server.app import create_app
from server.runtime.options import RuntimeOptions
from server.runtime.repository import Repository
from server.settings import Settings

QUESTION = {"story": ["Anna took the milk.", "Anna went to the garden."], "question": "Where is the milk?"}
TINY = {"model": "tiny", "version": "1"}


@pytest.fixture
def options():
    return RuntimeOptions()


@pytest.fixture
def settings():
    return Settings(gzip_min_bytes=10**6)


@pytest.fixture
def tracer():
    return None


@pytest.fixture
def open_app(repository_folder, session, options, settings, tracer):
    """Open the application: a context that gives a client, and the application as ``client.app``."""

    @asynccontextmanager
    async def open_app(*, traced=True):
        repository = Repository(repository_folder, options, open_session=lambda *_: session)
        app = create_app(settings, repository, tracer=tracer if traced else None)
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://engram") as client,
        ):
            client.app = app
            yield client

    return open_app


@pytest.fixture
async def client(open_app):
    async with open_app() as client:
        yield client


async def samples(client):
    """Fetch ``/metrics``: each sample's value by its name and labels."""
    response = await client.get("/metrics")
    assert response.status_code == 200
    return parse(response.text)


def parse(text):
    """Read the text format; the library's parser would rename Triton's counters."""
    lines = re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, flags=re.M)
    assert len(lines) == sum(not line.startswith("#") for line in text.splitlines())
    return {
        (name, frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))): float(value)
        for name, labels, value in lines
    }


def of(found, name, **labels):
    """Return the value of one sample."""
    return found[name, frozenset(labels.items())]
