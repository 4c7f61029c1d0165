"""The manifest of a bundle: everything a server must know about a model, checked on reading.

Written by ``export``, read by ``server.contract.bundle``. The dimension names used here are the
names of the ONNX axes, of the network's shape letters and of the attention axes in an answer.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
"""Model names that may reach a path; anything else is refused before a path is built."""

ModelName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
FileName = Annotated[str, StringConstraints(pattern=r"^([0-9]+/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
DataType = Literal["INT64", "FP32", "BOOL"]
TaskName = Literal["qa", "translate", "point", "read", "complete", "compute"]
RuntimeName = Literal["onnx", "torchscript", "triton"]
AttentionKind = Literal[
    "episodic_gate", "alignment", "memory_activity", "pointer", "token", "pointer_mixture"
]


class Record(BaseModel):
    """A frozen record that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(Record):
    """One graph input or output: name, dtype and one name (or fixed size) per axis.

    ``dims[0]`` is always ``"batch"``. An input is padded with ``pad`` along its named axes.
    """

    name: str
    datatype: DataType
    dims: tuple[str | int, ...]
    pad: int = 0


class AttentionSpec(Record):
    """What the attention output means: its graph output, kind, axes (without batch) and normalised axis."""

    output: str
    kind: AttentionKind
    axes: tuple[str, ...]
    normalized_over: str | None


class Signature(Record):
    """Graph inputs and outputs in order, and which output is attention."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    attention: AttentionSpec


class DataRecord(Record):
    """The data a model was trained on and what its licence allows."""

    name: str
    licence: str
    source: str
    note: str = ""


class Manifest(Record):
    """``manifest.json``: one per bundle, shared by its versions.

    ``graphs`` maps a role to a file inside the version folder: ``model`` (ONNX, the whole graph),
    ``torchscript``, ``golden``, ``parity``. ``limits`` are inclusive maxima by name (``max_facts``).
    ``files`` maps every path below the bundle folder (``1/model.onnx``), save the manifest, to its sha256.
    ``metrics`` and ``training`` are free-form JSON: what was measured on what, where the weights come from.
    """

    format: Literal[1] = 1
    name: ModelName
    task: TaskName
    family: str
    description: str
    selector: dict[str, str | int] = Field(default_factory=dict)
    default: bool = False
    runtime: RuntimeName = "onnx"
    graphs: dict[str, FileName]
    signature: Signature
    limits: dict[str, int]
    tokenizer: FileName | None = None
    answers: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    data: tuple[DataRecord, ...] = ()
    metrics: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    files: dict[FileName, Sha256]
