"""BentoML: one worker with its adaptive batching, which has no window to turn off."""

from __future__ import annotations

from typing import Any

import bentoml
import same_work


@bentoml.service(
    workers=1,
    traffic={"timeout": 60, "max_concurrency": 512},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Qa:
    """A batchable endpoint takes a list, so a single request is a list of one."""

    def __init__(self) -> None:
        self.model = same_work.open_model()

    @bentoml.api(route="/predict", batchable=True, max_batch_size=same_work.MAX_BATCH, max_latency_ms=1000)
    def predict(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Run a batch."""
        return same_work.objects(self.model, items)
