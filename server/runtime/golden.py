"""Replays a bundle's golden probes on a session: proof that this machine computes what the exporter saw."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from server.contract.bundle import Probes
from server.contract.manifest import GraphSpec
from server.contract.tensors import Array, Arrays, join, sizes_of, split
from server.errors import BundleError
from server.runtime.session import Session


def replay(session: Session, signature: GraphSpec, probes: Probes) -> None:
    """Run every probe alone, then all of them as one padded batch, and compare every output.

    An axis that no input has, such as the steps of a decoder, is in the batch as long as the longest needs.

    Raises:
        BundleError: an output is missing, has another shape or differs: which, where and by how much.
        RunError: the graph failed.
    """
    names = [spec.name for spec in signature.outputs]
    try:
        sizes = [sizes_of(signature.inputs, probe) for probe in probes.inputs]
    except ValueError as error:
        raise BundleError(f"a golden probe does not fit the signature: {error}") from error
    for place, (probe, expected) in enumerate(zip(probes.inputs, probes.outputs, strict=True)):
        outputs = session.run(join(signature.inputs, [probe]), names)
        [own] = split(signature.outputs, outputs, [sizes[place]])
        _compare(f"probe {place}", names, own, expected, probes.tolerance)
    outputs = session.run(join(signature.inputs, probes.inputs), names)
    sizes = [
        own | _made_sizes(signature, expected, own)
        for own, expected in zip(sizes, probes.outputs, strict=True)
    ]
    for place, own in enumerate(split(signature.outputs, outputs, sizes)):
        _compare(f"probe {place} in a batch", names, own, probes.outputs[place], probes.tolerance)


def _made_sizes(signature: GraphSpec, expected: Arrays, known: Mapping[str, int]) -> dict[str, int]:
    """Return the sizes of the axes that the outputs have and the inputs have not."""
    return {
        dim: size
        for spec in signature.outputs
        for dim, size in zip(spec.dims[1:], expected[spec.name].shape, strict=True)
        if isinstance(dim, str) and dim not in known
    }


def _compare(what: str, names: list[str], outputs: Arrays, expected: Arrays, tolerance: float) -> None:
    for name in names:
        if name not in expected:
            raise BundleError(f"{what}: golden.npz has no output {name!r}")
        if outputs[name].shape != expected[name].shape:
            found, wanted = list(outputs[name].shape), list(expected[name].shape)
            raise BundleError(f"{what}: output {name!r} has the shape {found}, expected {wanted}")
        _compare_values(f"{what}: output {name!r}", outputs[name], expected[name], tolerance)


def _compare_values(what: str, output: Array, expected: Array, tolerance: float) -> None:
    distance = np.abs(output.astype(np.float64) - expected.astype(np.float64))
    if distance.size == 0 or (distance <= tolerance).all():
        return
    # A NaN counts as the largest distance of all.
    place = np.unravel_index(np.nan_to_num(distance, nan=np.inf).argmax(), distance.shape)
    where = ", ".join(map(str, place))
    raise BundleError(f"{what} differs by {distance[place]:.2g} at [{where}], the tolerance is {tolerance:g}")
