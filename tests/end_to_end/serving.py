"""The whole server in this process, over bundles on disk."""

from contextlib import asynccontextmanager

import httpx2

from server.app import create_app
from server.settings import Settings


@asynccontextmanager
async def served(repository, **settings):
    """Start the application over the bundles in ``repository``, and yield an HTTP client for it."""
    app = create_app(Settings(model_repository=repository, grpc_port=0, warm_up=False, **settings))
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://engram") as client:
            yield client
