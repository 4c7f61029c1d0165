"""LitServe: one worker process beside the one that speaks HTTP; a batch is what waits for the worker.

LitServe reads the annotations below: another type for the request, or any for the response, is validated.
"""

import sys
from typing import Any

import litserve
import same_work
from fastapi import Request


class Qa(litserve.LitAPI):
    """Requests are decoded JSON; LitServe collects them into a list."""

    def setup(self, device: str) -> None:
        """Open the model in the worker."""
        self.model = same_work.open_model()

    def decode_request(self, request: Request) -> Any:
        """Take the decoded body, which comes in the request's place."""
        return request

    def batch(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Keep a batch a list."""
        return list(inputs)

    def predict(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Run a batch."""
        return same_work.objects(self.model, requests)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return one result for each request."""
        return output

    def encode_response(self, output: Any):  # noqa: ANN201 - see above
        """Return the result as it is."""
        return output


if __name__ == "__main__":
    api = Qa(max_batch_size=same_work.MAX_BATCH, batch_timeout=0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
