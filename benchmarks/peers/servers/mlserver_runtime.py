"""MLServer: a runtime of ours, since it has none for ONNX; it runs in the process that speaks HTTP."""

from __future__ import annotations

import graph
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Qa(MLModel):
    """One request or, with adaptive batching, requests of equal lengths joined by MLServer."""

    async def load(self) -> bool:
        """Open the graph."""
        self.session = graph.open_graph()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run what came."""
        tensors = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        rows = list(zip(tensors["story_tokens"], tensors["question_tokens"]))  # noqa: B905 - one batch
        answers, scores, attention = zip(*graph.run(self.session, rows))  # noqa: B905 - triples
        outputs = {
            "answer": np.array(answers, dtype=np.int64)[:, None],
            "score": np.array(scores, dtype=np.float32)[:, None],
            "attention": np.stack(attention),
        }
        encoded = [NumpyCodec.encode_output(name, array) for name, array in outputs.items()]
        return InferenceResponse(model_name=self.name, outputs=encoded)
