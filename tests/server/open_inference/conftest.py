"""One server process over the arithmetic bundle, shared by every test, and each client in turn."""

import numpy as np
import pytest

from tests.server.fakes import write_bundle
from tests.server.open_inference.clients import MODULES, Client, running


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A repository with two versions of ``tiny``."""
    folder = tmp_path_factory.mktemp("models")
    write_bundle(folder / "tiny")
    return folder


@pytest.fixture(scope="session")
def address(models):
    with running(models) as address:
        yield address


@pytest.fixture(params=MODULES)
async def client(request, address):
    async with Client(request.param, address) as client:
        yield client


@pytest.fixture(params=["http", "http.aio"])
async def over_http(request, address):
    async with Client(request.param, address) as client:
        yield client


@pytest.fixture(params=["grpc", "grpc.aio"])
async def over_grpc(request, address):
    async with Client(request.param, address) as client:
        yield client


@pytest.fixture
def arrays():
    """Two rows for ``tiny``: five facts of three words, a question of two words."""
    return {
        "story_tokens": np.arange(30).reshape(2, 5, 3) % 19 + 2,
        "question_tokens": np.array([[3, 4], [5, 6]]),
    }
