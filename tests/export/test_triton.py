import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.triton import MAX_BATCH_SIZE


@pytest.fixture
def config(bundle):
    text = (bundle.folder / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_triton_serves_the_onnx_file_under_the_same_name(config, bundle):
    assert config.name == bundle.manifest.name
    assert config.platform == "onnxruntime_onnx"
    assert bundle.manifest.graphs["model"] == "model.onnx"


def test_tensors_are_those_of_the_signature_without_the_batch_axis(config, bundle):
    signature = bundle.manifest.signature
    for tensors, specs in ((config.input, signature.inputs), (config.output, signature.outputs)):
        for tensor, spec in zip(tensors, specs, strict=True):
            assert tensor.name == spec.name
            assert model_config_pb2.DataType.Name(tensor.data_type) == f"TYPE_{spec.datatype}"
            assert list(tensor.dims) == [dim if isinstance(dim, int) else -1 for dim in spec.dims[1:]]


def test_triton_joins_requests(config):
    assert config.max_batch_size == MAX_BATCH_SIZE
    assert config.HasField("dynamic_batching")
