"""MLServer: a runtime of ours, since it has none for ONNX; it runs in the process that speaks HTTP."""

from __future__ import annotations

import same_work
from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Qa(MLModel):
    """One request or, with adaptive batching, requests joined by MLServer."""

    async def load(self) -> bool:
        """Open the model."""
        self.model = same_work.open_model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run what came."""
        (tensor,) = payload.inputs
        requests = [body.encode() for body in StringCodec.decode_input(tensor)]
        answers = [body.decode() for body in same_work.bodies(self.model, requests)]
        outputs = [StringCodec.encode_output("response", answers)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
