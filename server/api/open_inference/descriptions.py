"""What the protocol tells about server and models, as plain JSON values for HTTP and gRPC alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from server import __version__
from server.api.open_inference.served_models import Catalogue, Port, ServedModel
from server.api.snapshot import ModelSnapshot
from server.runtime.statistics import ComputeDurations, Duration

Json = dict[str, Any]

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
)
"""Extensions of the protocol that this server has in full."""

PLATFORMS = {"onnx": ("onnxruntime_onnx", "onnxruntime"), "torchscript": ("pytorch_libtorch", "pytorch")}
"""Runtime to Triton's names for platform and backend."""

STATES = {"ready": "READY", "loading": "LOADING", "failed": "UNAVAILABLE", "unloaded": "UNAVAILABLE"}


def server_metadata() -> Json:
    """Return ``GET /v2``."""
    return {"name": "engram", "version": __version__, "extensions": list(EXTENSIONS)}


def model_metadata(model: ServedModel, catalogue: Catalogue) -> Json:
    """Return ``GET /v2/models/{name}``; shapes include the batch axis."""
    return {
        "name": model.name,
        "versions": catalogue.versions(model.loaded),
        "platform": _platform(model)[0],
        "inputs": [_metadata(port) for port in model.inputs],
        "outputs": [_metadata(port) for port in model.outputs],
    }


def model_config(model: ServedModel, catalogue: Catalogue) -> Json:
    """Return ``GET /v2/models/{name}/config``, in Triton's terms; dims leave the batch axis out."""
    platform, backend = _platform(model)
    loaded = model.loaded
    gpu = (loaded.device or "").startswith("cuda")
    instances: Json = {
        "name": f"{model.name}_0",
        "kind": "KIND_GPU" if gpu else "KIND_CPU",
        "count": loaded.options.executors,
        "gpus": [int((loaded.device or ":0").partition(":")[2] or 0)] if gpu else [],
    }
    return {
        "name": model.name,
        "platform": platform,
        "backend": backend,
        "version_policy": {"specific": {"versions": [int(v) for v in catalogue.versions(loaded)]}},
        "max_batch_size": loaded.options.max_batch_size,
        "input": [_config(port) for port in model.inputs],
        "output": [_config(port) for port in model.outputs],
        "dynamic_batching": {"max_queue_delay_microseconds": 0},
        "instance_group": [instances],
    }


def statistics(entries: Iterable[tuple[str, ModelSnapshot]]) -> Json:
    """Return the counts of these models; a text name shows those of the model behind it."""
    return {"model_stats": [_statistics(name, model) for name, model in entries]}


def index(catalogue: Catalogue, *, ready: bool) -> list[Json]:
    """Return the repository's index: every name and version with its state, or only the ready ones."""
    return [
        {
            "name": name,
            "version": str(loaded.version),
            "state": STATES[loaded.state],
            "reason": loaded.reason or "",
        }
        for name, loaded in catalogue.entries()
        if loaded.state == "ready" or not ready
    ]


def _platform(model: ServedModel) -> tuple[str, str]:
    if model.name != model.loaded.name:
        return "engram_text", "engram"
    runtime = model.loaded.runtime or ""
    return PLATFORMS.get(runtime, (runtime, runtime))


def _metadata(port: Port) -> Json:
    return {"name": port.name, "datatype": port.datatype, "shape": list(port.shape)}


def _config(port: Port) -> Json:
    kind = "STRING" if port.datatype == "BYTES" else port.datatype
    return {"name": port.name, "data_type": f"TYPE_{kind}", "dims": list(port.shape[1:])}


def _statistics(name: str, model: ModelSnapshot) -> Json:
    counts = model.statistics
    outcomes = {
        "success": counts.success,
        "fail": counts.fail,
        "queue": counts.queue,
        **_compute(counts.compute),
        "cache_hit": Duration(),
        "cache_miss": Duration(),
    }
    return {
        "name": name,
        "version": str(model.version),
        "last_inference": counts.last_inference_ms,
        "inference_count": counts.inference_count,
        "execution_count": counts.execution_count,
        "inference_stats": {what: _leaf(duration) for what, duration in outcomes.items()},
        "batch_stats": [
            {"batch_size": size} | {what: _leaf(each) for what, each in _compute(durations).items()}
            for size, durations in sorted(counts.batches.items())
        ],
    }


def _compute(durations: ComputeDurations) -> dict[str, Duration]:
    return {
        "compute_input": durations.input,
        "compute_infer": durations.infer,
        "compute_output": durations.output,
    }


def _leaf(duration: Duration) -> Json:
    return {"count": duration.count, "ns": duration.ns}
