"""``GET /metrics``: the numbers of this process, and of others that serve the same models.

This is the seam for several processes: ``Metrics.elsewhere`` brings the snapshots of the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import reduce
from typing import Any

from prometheus_client import ProcessCollector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from server.api.exposition import CONTENT_TYPE, render
from server.api.snapshot import ModelSnapshot, Snapshot
from server.batches.records import BatchCounts
from server.runtime.repository import Repository


class Metrics:
    """Takes the snapshot of this process, and adds those of others.

    Attributes:
        http: requests by their route and status; what no route took has the route ``none``.
        elsewhere: brings the snapshots of other processes, where there are any.
        batches: what was done for batches.
        batch_lines_running: tells how many of their lines run at this moment.
    """

    def __init__(self, repository: Repository) -> None:
        self.http: Counter[tuple[str, int]] = Counter()
        self.batches = BatchCounts()
        self.batch_lines_running: Callable[[], int] = int
        self.elsewhere: Callable[[], Awaitable[Iterable[Snapshot]]] | None = None
        self._paths: dict[Any, str] = {}
        self._repository = repository
        self._process = ProcessCollector(registry=None)

    def name_routes(self, routes: Iterable[BaseRoute]) -> None:
        """Learn the path of every endpoint: FastAPI tells which endpoint took a request, not which route."""
        self._paths = {route.endpoint: route.path for route in routes if isinstance(route, Route)}

    def count(self, scope: Scope, status: int) -> str:
        """Count a request that has ended and return its route, which is a template, so that there are few."""
        route = scope.get("route")
        path = self._paths.get(scope.get("endpoint"), "none") if route is None else route.path
        self.http[path, status] += 1
        return path

    def snapshot(self) -> Snapshot:
        """Return the numbers of this process. They are not copied: encode or render them at once."""
        samples = [sample for metric in self._process.collect() for sample in metric.samples]
        return Snapshot(
            [ModelSnapshot.of(model) for model in self._repository.models()],
            self.http,
            {sample.name: sample.value for sample in samples},
            self.batches.lines,
            self.batches.batches,
            self.batch_lines_running(),
        )

    async def total(self) -> Snapshot:
        """Return the numbers of all processes together."""
        others = [] if self.elsewhere is None else await self.elsewhere()
        return reduce(Snapshot.plus, others, self.snapshot())


def metrics_routes(metrics: Metrics) -> list[Route]:
    """Return the route of ``/metrics``."""

    async def show(_: Request) -> Response:
        return Response(render(await metrics.total()), headers={"Content-Type": CONTENT_TYPE})

    return [Route("/metrics", show, methods=["GET"])]
