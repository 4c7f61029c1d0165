"""A bundle's ``config.pbtxt``: the same model as a Triton server sees it."""

from __future__ import annotations

from collections.abc import Sequence

from server.contract.manifest import Signature, TensorSpec

MAX_BATCH_SIZE = 32
TYPES = {"INT64": "TYPE_INT64", "FP32": "TYPE_FP32", "BOOL": "TYPE_BOOL"}


def triton_config(name: str, signature: Signature) -> str:
    """Write the configuration; Triton adds the batch axis itself and writes a free axis as -1."""
    return "\n".join(
        [
            f'name: "{name}"',
            'platform: "onnxruntime_onnx"',
            f"max_batch_size: {MAX_BATCH_SIZE}",
            *_tensors("input", signature.inputs),
            *_tensors("output", signature.outputs),
            "dynamic_batching { }",
            # One thread a session: a second one never paid.
            *(
                f'parameters {{ key: "{scope}_op_thread_count" value: {{ string_value: "1" }} }}'
                for scope in ("intra", "inter")
            ),
            "",
        ]
    )


def _tensors(side: str, specs: Sequence[TensorSpec]) -> list[str]:
    lines = []
    for spec in specs:
        dims = ", ".join(str(dim) if isinstance(dim, int) else "-1" for dim in spec.dims[1:])
        lines += [
            f"{side} {{",
            f'  name: "{spec.name}"',
            f"  data_type: {TYPES[spec.datatype]}",
            # One number a row: Triton wants an axis, which the graph does not have.
            *([f"  dims: [ {dims} ]"] if dims else ["  dims: [ 1 ]", "  reshape { shape: [ ] }"]),
            "}",
        ]
    return lines
