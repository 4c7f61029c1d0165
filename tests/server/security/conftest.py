"""The application of the HTTP tests, open and with keys."""

import httpx2
import pytest

from server.app import create_app
from server.settings import Settings
from tests.server.api.conftest import TinyModel, TinyRepository, app, client, model, repository, settings

__all__ = ["app", "client", "model", "repository", "settings"]

KEY, OTHER, ADMIN = "k" * 32, "o" * 32, "a" * 32
BEARER = {"Authorization": f"Bearer {KEY}"}
AS_ADMIN = {"Authorization": f"Bearer {ADMIN}"}


@pytest.fixture
def open_client(bundle):
    """Make a client of an application with the settings given."""

    def open_client(**settings):
        app = create_app(Settings(**settings), TinyRepository(TinyModel(bundle)))
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport, base_url="http://engram")

    return open_client


@pytest.fixture
async def guarded(open_client):
    """A client of an application that has an API key, a second one, and an admin key."""
    async with open_client(api_keys=f"shop:{KEY},{OTHER}", admin_keys=f"ops:{ADMIN}") as client:
        yield client
