"""The manifest of a bundle: everything a server must know about a model, checked on reading.

Written by ``export``, read by ``server.contract.bundle``. The dimension names used here are the
names of the ONNX axes, of the network's shape letters and of the attention axes in an answer.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
"""Model names that may reach a path; anything else is refused before a path is built."""

ModelName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
FileName = Annotated[str, StringConstraints(pattern=r"^([0-9]+/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
DataType = Literal["INT64", "FP32", "BOOL"]
TaskName = Literal["qa", "translate", "point", "read", "complete", "compute"]
StageName = Literal["encoder", "step"]
RuntimeName = Literal["onnx", "torchscript", "triton"]
AttentionKind = Literal[
    "episodic_gate", "alignment", "memory_activity", "pointer", "token", "pointer_mixture"
]

NEXT = "next_"
"""The step output ``next_X`` is the input ``X`` of the following step."""


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


class GraphSpec(Record):
    """The inputs and outputs of a graph, in order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Signature(GraphSpec):
    """The whole graph of a model, and which output is attention."""

    attention: AttentionSpec


class Stage(GraphSpec):
    """One graph of a model that is driven step by step; ``server.tasks.stepwise`` says how stages wire up."""

    @model_validator(mode="after")
    def _names_and_axes_are_known(self) -> Self:
        for specs in (self.inputs, self.outputs):
            names = [spec.name for spec in specs]
            if len(set(names)) < len(names):
                raise ValueError(f"a name comes twice in {names}")
            for spec in specs:
                if spec.dims[:1] != ("batch",):
                    raise ValueError(f"the first axis of {spec.name} is not batch")
        axes = {dim for spec in self.inputs for dim in spec.dims if isinstance(dim, str)}
        for spec in self.outputs:
            if strange := [dim for dim in spec.dims if isinstance(dim, str) and dim not in axes]:
                raise ValueError(f"output {spec.name} has axes that no input has: {', '.join(strange)}")
        return self


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
    A model that is driven step by step also has ``stages``; each is a role, with golden probes in the role
    ``STAGE_golden``, and two roles may share a file. ``signature`` stays that of the whole graph.
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
    stages: dict[StageName, Stage] = Field(default_factory=dict)
    limits: dict[str, int]
    tokenizer: FileName | None = None
    answers: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    data: tuple[DataRecord, ...] = ()
    metrics: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    files: dict[FileName, Sha256]

    @model_validator(mode="after")
    def _stages_wire_up(self) -> Self:
        """Make sure that every stage has its graph, and that what flows from one to the next fits."""
        for stage in self.stages:
            for role in (stage, f"{stage}_golden"):
                if role not in self.graphs:
                    raise ValueError(f"stage {stage} has no file in the role {role} (manifest: graphs)")
        if not self.stages:
            return self
        if "step" not in self.stages:
            raise ValueError("stages without a step")
        step = self.stages["step"]
        wanted = {spec.name: spec for spec in step.inputs}
        for spec in step.outputs:
            if spec.name.startswith(NEXT):
                _flows(spec, wanted.get(spec.name.removeprefix(NEXT)))
        if "encoder" in self.stages:
            made = {spec.name: spec for spec in self.stages["encoder"].outputs}
            if not wanted.keys() & made.keys():
                raise ValueError("the encoder makes nothing that the step takes")
            for name in wanted.keys() & made.keys():
                _flows(made[name], wanted[name])
        return self


def _flows(output: TensorSpec, target: TensorSpec | None) -> None:
    if target is None:
        raise ValueError(f"output {output.name} is the input of no step")
    if (output.datatype, output.dims) != (target.datatype, target.dims):
        raise ValueError(
            f"output {output.name} is {output.datatype} {list(output.dims)}, "
            f"the step takes {target.name} as {target.datatype} {list(target.dims)}"
        )
