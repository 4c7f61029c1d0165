"""One file of weights for all graphs of a bundle: each of its large constants is stored once.

Encoder, step and the loop over both have the same constants. They become external data of ONNX: in each
graph stands the place of a constant in the file of weights, which lies beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import numpy_helper
from onnx.external_data_helper import set_external_data

from server.contract.bundle import WEIGHTS

WEIGHTS_FILE = "weights.bin"
SMALLEST_BYTES = 1024
"""Smaller constants stay in their graph: shapes are derived from some of them."""
ALIGNMENT = 64
"""Every constant begins at a multiple of so many bytes, as whoever maps the file into memory likes it."""


def shared(forms: Mapping[str, bytes]) -> dict[str, bytes]:
    """Move the large constants of ONNX files to one file of weights.

    Args:
        forms: files by role; those that are no ONNX (their role ends in ``torchscript``) stay as they are.

    Returns:
        The files by role, with one more in the role ``weights``.
    """
    weights = bytearray()
    places: dict[bytes, int] = {}
    found = dict(forms)
    for role in (role for role in forms if not role.endswith("torchscript")):
        model = onnx.load_from_string(forms[role])
        for tensor in model.graph.initializer:
            content = numpy_helper.to_array(tensor).tobytes()
            if len(content) < SMALLEST_BYTES:
                continue
            if content not in places:
                weights.extend(bytes(-len(weights) % ALIGNMENT))
                places[content] = len(weights)
                weights.extend(content)
            tensor.raw_data = content
            set_external_data(tensor, WEIGHTS_FILE, offset=places[content], length=len(content))
            tensor.ClearField("raw_data")
        found[role] = bytes(model.SerializeToString())
    return found | {WEIGHTS: bytes(weights)}
