"""Translation networks as graphs: an encoder, a step that speaks one piece, and the greedy loop over both.

Every axis of varying length is that of the source, so a row is cut out of a batch by its own source: the
columns of a canvas are folded, several of them for each piece of the source.

Legend: B batch, S source pieces, R columns for each of them, V target vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from export.greedy import greedy_graphs
from export.wrappers import Graph, Graphs, Greedy
from models.attention_gru import AttentionGRU, Source
from models.canvas import Canvas
from models.checkpoint import Checkpoint
from models.extended_neural_gpu import ExtendedNeuralGPU
from models.families import build
from models.translator import log_probabilities
from server.contract.manifest import AttentionKind, AttentionSpec, DataType, GraphSpec, TensorSpec
from server.contract.subwords import END_ID, START_ID

SOURCE = "source_tokens"


def spec(name: str, *dims: str | int, datatype: DataType = "FP32") -> TensorSpec:
    """Describe a tensor with the batch in front."""
    return TensorSpec(name=name, datatype=datatype, dims=("batch", *dims))


class Parts(Protocol):
    """How the memory and the state of a family become tensors of graphs, and are made of them again."""

    kind: AttentionKind
    memory: tuple[TensorSpec, ...]
    state: tuple[TensorSpec, ...]

    def apart(self, memory: Any, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the tensors of memory and state, in order."""
        ...

    def together(self, tensors: Sequence[Tensor]) -> tuple[Any, tuple[Tensor, ...]]:
        """Return the memory and the state that the network takes."""
        ...

    def following(self, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the tensors of the next state, in order."""
        ...


class AttentionParts:
    """The memory is what is looked at, the state one vector."""

    kind: AttentionKind = "alignment"

    def __init__(self, network: AttentionGRU) -> None:
        config = network.config
        self.memory: tuple[TensorSpec, ...] = (
            spec("keys", SOURCE, config.alignment),
            spec("states", SOURCE, 2 * config.encoder_hidden),
            spec("present", SOURCE, datatype="BOOL"),
        )
        self.state: tuple[TensorSpec, ...] = (spec("state", config.hidden),)

    def apart(self, memory: Source, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return keys, states, which pieces are present, and the state."""
        return memory.keys_BSA, memory.states_BSC, memory.real_BS > 0, *state

    def together(self, tensors: Sequence[Tensor]) -> tuple[Source, tuple[Tensor, ...]]:
        """Return what is looked at, and the state."""
        keys_BSA, states_BSC, present_BS, state_BH = tensors
        return Source(keys_BSA, states_BSC, present_BS.to(keys_BSA.dtype)), (state_BH,)

    def following(self, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the next state."""
        return tuple(state)


class CanvasParts:
    """Canvases travel folded, ``[B, S, R, C, M]``, and with them whatever the form of the decoder needs.

    A decoder of the whole canvas rewrites it, so that it is state; for the others it is memory. One whose
    cells listen is reminded of what the encoder left, which is its memory.
    """

    kind: AttentionKind = "memory_activity"

    def __init__(self, network: ExtendedNeuralGPU) -> None:
        config = network.config
        self.columns, self.listening = config.columns, config.read == "maximum"
        self.whole = self.listening or (config.form == "extended" and not config.ahead)
        canvas = spec("canvas", SOURCE, config.columns, config.width, config.maps)
        tape = spec("tape", SOURCE, config.columns, config.embedding)
        spoken = spec("spoken", datatype="INT64")
        present = spec("present", SOURCE, datatype="BOOL")
        activity = spec("activity", SOURCE, config.columns)
        self.memory: tuple[TensorSpec, ...]
        self.state: tuple[TensorSpec, ...]
        if config.form != "extended":
            self.memory, self.state = (canvas, present, activity), (spoken,)
        elif self.listening:
            told = 3 * config.maps * config.decoder_layers
            reminder = spec("reminder", SOURCE, config.columns, config.width, told)
            self.memory, self.state = (present, reminder), (canvas, spec("read", config.maps))
        elif self.whole:
            self.memory, self.state = (present,), (canvas, tape, spoken)
        else:
            window = spec("window", config.behind + 1 + config.ahead, config.width, config.maps)
            last = spec("tape", config.behind + 1, config.embedding)
            self.memory, self.state = (canvas, present), (window, last, spoken)

    def apart(self, memory: Canvas, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the tensors that the specifications name."""
        made = {
            "canvas": self._fold(memory.cells_BNCM),
            "present": self._fold(memory.real_BN)[:, :, 0] > 0,
            "activity": self._fold(memory.activity_BN),
        }
        if self.listening:
            made["reminder"] = self._fold(memory.reminder_BNCX)
        return (*(made[one.name] for one in self.memory), *self.following(state))

    def together(self, tensors: Sequence[Tensor]) -> tuple[Canvas, tuple[Tensor, ...]]:
        """Return the canvas and the state; what a decoder does not read of a canvas is left empty."""
        given = dict(zip([one.name for one in self.memory], tensors, strict=False))
        state = tuple(tensors[len(given) :])
        if self.listening:
            state = (state[0].flatten(1, 2), state[1])
        elif self.whole:
            state = (state[0].flatten(1, 2), state[1].flatten(1, 2), state[2])
        real_BN = given["present"].to(torch.float32).repeat_interleave(self.columns, dim=1)
        cells_BNCM = state[0] if self.whole else given["canvas"].flatten(1, 2)
        activity_BN = given["activity"].flatten(1, 2) if "activity" in given else real_BN
        reminder_BNCX = given["reminder"].flatten(1, 2) if "reminder" in given else cells_BNCM[..., :0]
        return Canvas(cells_BNCM, real_BN.to(cells_BNCM.dtype), activity_BN, reminder_BNCX), state

    def following(self, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the next state; a canvas and its tape are folded."""
        if self.listening:
            return self._fold(state[0]), state[1]
        if not self.whole:
            return tuple(state)
        cells_BNCM, tape_BNE, spoken_B = state
        return self._fold(cells_BNCM), self._fold(tape_BNE), spoken_B

    def _fold(self, of_columns: Tensor) -> Tensor:
        return of_columns.reshape(of_columns.shape[0], -1, self.columns, *of_columns.shape[2:])


class TranslationEncoder(nn.Module):
    """Reads a source; says how many steps its translation may take, the end included."""

    def __init__(self, network: AttentionGRU | ExtendedNeuralGPU, parts: Parts) -> None:
        super().__init__()
        self.network = network
        self.parts = parts

    def forward(self, source_BS: Tensor) -> tuple[Tensor, ...]:
        """Return memory, state and ``most_steps``."""
        memory, state = self.network.encode(source_BS)
        length_B = (source_BS != 0).long().sum(dim=1)
        per_piece = self.network.most(2) - self.network.most(1)
        most_B = per_piece * length_B + (self.network.most(0) + 1)
        return (*self.parts.apart(memory, state), most_B)


class TranslationStep(nn.Module):
    """Speaks one piece: what was spoken last goes in, the chances of the next come out."""

    def __init__(self, network: AttentionGRU | ExtendedNeuralGPU, parts: Parts) -> None:
        super().__init__()
        self.network = network
        self.parts = parts

    def speak(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return ``log_probabilities``, ``attention`` and the next state."""
        memory, state = self.parts.together(tensors[:-1])
        readout_B1E, looked_B1S, state = self.network.decode(tensors[-1].unsqueeze(1), state, memory)
        scores_BV = log_probabilities(self.network, readout_B1E[:, 0])
        return scores_BV, looked_B1S[:, 0], *self.parts.following(state)


class StepOfFive(TranslationStep):
    """A step with five inputs: a graph is traced by arguments that are counted."""

    def forward(self, a: Tensor, b: Tensor, c: Tensor, d: Tensor, previous_B: Tensor) -> tuple[Tensor, ...]:
        """Speak; memory and state in order, then the last piece."""
        return self.speak(a, b, c, d, previous_B)


class StepOfSix(TranslationStep):
    """A step with six inputs."""

    def forward(  # noqa: PLR0917 - the inputs of the graph, in order
        self, a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, previous_B: Tensor
    ) -> tuple[Tensor, ...]:
        """Speak; memory and state in order, then the last piece."""
        return self.speak(a, b, c, d, e, previous_B)


def translation_graphs(checkpoint: Checkpoint) -> Graphs:
    """Wrap a translation network; where it looked is over the source's pieces at each step.

    Raises:
        ValueError: the number of the encoder's steps depends on the source, which no graph can hold.
    """
    network = build(checkpoint)
    assert isinstance(network, (AttentionGRU, ExtendedNeuralGPU))
    if isinstance(network, ExtendedNeuralGPU) and not network.config.steps:
        raise ValueError("network.steps is 0: only a fixed number of encoder steps can be exported")
    parts: Parts = AttentionParts(network) if isinstance(network, AttentionGRU) else CanvasParts(network)
    vocabulary = network.config.target_vocabulary
    limits = {SOURCE: checkpoint.limits["max_pieces"] + 1}
    made = (*parts.memory, *parts.state)
    encoder = GraphSpec(
        inputs=(spec(SOURCE, SOURCE, datatype="INT64"),),
        outputs=(*made, spec("most_steps", datatype="INT64")),
    )
    step = GraphSpec(
        inputs=(*made, spec("previous_token", datatype="INT64")),
        outputs=(
            spec("log_probabilities", vocabulary),
            spec("attention", SOURCE),
            *(one.model_copy(update={"name": f"next_{one.name}"}) for one in parts.state),
        ),
    )
    greedy = Greedy(
        choice="previous_token",
        scores="log_probabilities",
        start=START_ID,
        end=END_ID,
        most="most_steps",
        chosen="target_tokens",
        collected=("attention",),
    )
    attention = AttentionSpec(
        output="attention",
        kind=parts.kind,
        axes=("step", "source_token"),
        normalized_over="source_token" if parts.kind == "alignment" else None,
    )
    return greedy_graphs(
        Graph(TranslationEncoder(network, parts).eval(), encoder, limits, network.config.source_vocabulary),
        Graph((StepOfFive if len(made) == 4 else StepOfSix)(network, parts).eval(), step, limits),
        greedy,
        attention,
    )
