"""Our server with a session that counts what really runs, and a route ``/observed`` that tells.

The counts come from the graph's own inputs, so they do not depend on what the server says of itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.api.connection import ConnectionLimits
from server.api.hot_connection import connection_protocol
from server.app import create_app, runtime_options
from server.contract.bundle import Bundle
from server.contract.manifest import RuntimeName
from server.contract.tensors import Array, Arrays
from server.runtime.repository import Repository
from server.runtime.session import Session, open_session
from server.settings import load_settings

LARGEST = "story_tokens"


class Tally:
    """What ran: for each batch its requests, its cells with padding and without."""

    def __init__(self) -> None:
        self._batches: list[tuple[int, int, int]] = []

    def note(self, tokens_BFT: Array) -> None:
        """Count a batch; a request's own cells are its facts times the words of its longest fact."""
        real_BFT = tokens_BFT != 0
        facts_B, words_B = real_BFT.any(axis=2).sum(axis=1), real_BFT.any(axis=1).sum(axis=1)
        self._batches.append((len(tokens_BFT), tokens_BFT.size, int(np.dot(facts_B, words_B))))

    async def tell(self, _: Request) -> Response:
        """Answer with the sums."""
        requests, padded, real = map(sum, zip(*self._batches, strict=True))
        told = {"batches": len(self._batches), "requests": requests, "padded": padded, "real": real}
        return Response(json.dumps(told), media_type="application/json")


class ObservedSession:
    """A session that notes every batch."""

    def __init__(self, session: Session, tally: Tally) -> None:
        self.runtime, self.device = session.runtime, session.device
        self._session = session
        self._tally = tally
        self.close = session.close

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> dict[str, Array]:
        """Run a batch."""
        self._tally.note(inputs[LARGEST])
        return self._session.run(inputs, outputs)


def main() -> None:
    """Serve as the settings in the environment say."""
    settings, tally = load_settings(), Tally()

    def observed(bundle: Bundle, runtime: RuntimeName | None, device: str) -> Session:
        return ObservedSession(open_session(bundle, runtime, device), tally)

    options = runtime_options(settings)
    app = create_app(settings, Repository(settings.model_repository, options, settings.models, observed))
    app.router.routes.insert(0, Route("/observed", tally.tell))
    protocol = connection_protocol(ConnectionLimits.of(settings), app.hot_path)  # as the server has it
    uvicorn.run(
        app, host=settings.host, port=settings.port, loop="uvloop", http=protocol, log_level="warning"
    )


if __name__ == "__main__":
    main()
