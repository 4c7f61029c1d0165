"""What a language model remembers between two requests, as one opaque text that the client keeps.

The server holds nothing: a conversation can go on after a restart and in any process, costs no memory and
never expires. The text carries the arrays of the state and what has been read, and a digest over them and
the checksum of the model's graph, so that a damaged state, or one of another model or version, is refused.
It is no secret and no authority: whoever forges one makes the model remember other words, for himself alone.
What is read is bounded by the sizes in the manifest, and is numbers and known words, nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.contract.bundle import Bundle
from server.contract.manifest import TensorSpec
from server.contract.tensors import DTYPES, Array
from server.errors import InvalidRequest

DIGEST_BYTES = 16
COUNTS = np.dtype("<i8")
MOST_READ = 2**53
LARGEST = 1e6
"""No state that words have led to comes near it, and no product of such numbers is infinite."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A state between two requests.

    ``arrays`` are the state inputs of the graph by name, without the batch axis. ``unread`` is the id of the
    word that was written last, which the graph has not seen yet; ``read`` counts those that it has seen.
    """

    arrays: Mapping[str, Array]
    unread: int
    read: int


def fresh(bundle: Bundle, first: int) -> Memory:
    """Return the memory of a new text, which begins after ``first``, the end of a line."""
    arrays: dict[str, Array] = {
        spec.name: np.zeros(_shape(spec), DTYPES[spec.datatype]) for spec in state_specs(bundle)
    }
    return Memory(arrays, first, 0)


def pack(memory: Memory, bundle: Bundle) -> str:
    """Write a memory as text."""
    counts = np.array([memory.unread, memory.read], COUNTS).tobytes()
    parts = [memory.arrays[spec.name].astype(_stored(spec)).tobytes() for spec in state_specs(bundle)]
    content = counts + b"".join(parts)
    return base64.urlsafe_b64encode(_digest(content, bundle) + content).decode("ascii")


def unpack(text: str, bundle: Bundle) -> Memory:
    """Read a memory back.

    Raises:
        InvalidRequest: it is damaged, or of another model or version.
    """
    specs = state_specs(bundle)
    sizes = [int(np.prod(_shape(spec))) * np.dtype(_stored(spec)).itemsize for spec in specs]
    expected = DIGEST_BYTES + 2 * COUNTS.itemsize + sum(sizes)
    if len(text) != len(base64.urlsafe_b64encode(bytes(expected))):
        raise _refused("it is not of this model's size")
    try:
        content = base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused("it is not what an answer carried") from error
    digest, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if digest != _digest(content, bundle):
        raise _refused("it is damaged, or of another model or version")
    unread, read = np.frombuffer(content, COUNTS, 2).tolist()
    arrays: dict[str, Array] = {}
    offset = 2 * COUNTS.itemsize
    for spec, size in zip(specs, sizes, strict=True):
        values = np.frombuffer(content[offset : offset + size], _stored(spec)).reshape(_shape(spec))
        arrays[spec.name] = values.astype(DTYPES[spec.datatype])
        offset += size
    assert bundle.vocabulary is not None
    _check(arrays, unread, read, len(bundle.vocabulary))
    return Memory(arrays, unread, read)


def state_specs(bundle: Bundle) -> Sequence[TensorSpec]:
    """Return the inputs of the step graph that are its state: those with a ``next_``."""
    step = bundle.manifest.stages["step"]
    made = {spec.name for spec in step.outputs}
    return [spec for spec in step.inputs if f"next_{spec.name}" in made]


def _shape(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(int(dim) for dim in spec.dims[1:])


def _stored(spec: TensorSpec) -> str:
    return "<f4" if spec.datatype == "FP32" else "<i4"


def _digest(content: bytes, bundle: Bundle) -> bytes:
    graph = bundle.manifest.files[bundle.file("step")]
    key = f"{bundle.manifest.name}:{bundle.version}:{graph}".encode()
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES, key=hashlib.sha256(key).digest()).digest()


def _check(arrays: Mapping[str, NDArray[Any]], unread: int, read: int, words: int) -> None:
    """Refuse what no answer can have carried, though its digest holds: forged numbers and words."""
    for values in arrays.values():
        if np.issubdtype(values.dtype, np.floating):
            fine = bool((np.abs(values) <= LARGEST).all())
        else:
            fine = bool(((values >= 0) & (values < words)).all())
        if not fine:
            raise _refused("it holds what is no number, or a word that is not known")
    if not (0 < unread < words and 0 <= read < MOST_READ):
        raise _refused("it holds a word that is not known")


def _refused(why: str) -> InvalidRequest:
    return InvalidRequest(f"state cannot be taken up: {why}", fields=["state"])
