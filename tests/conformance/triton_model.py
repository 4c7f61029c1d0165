"""What a Triton server runs in its python backend: the bundle's own graph, in ONNX Runtime."""

from pathlib import Path

import onnxruntime as ort
import triton_python_backend_utils as backend


class TritonPythonModel:
    """The name is the backend's."""

    def initialize(self, arguments):
        folder = Path(arguments["model_repository"]) / arguments["model_version"]
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(
            folder / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        self.inputs = [entry.name for entry in self.session.get_inputs()]
        self.outputs = [entry.name for entry in self.session.get_outputs()]

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        feed = {name: backend.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
        values = dict(zip(self.outputs, self.session.run(None, feed), strict=True))
        wanted = request.requested_output_names()
        return backend.InferenceResponse([backend.Tensor(name, values[name]) for name in wanted])
