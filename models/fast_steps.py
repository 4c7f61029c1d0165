"""Training steps of the diagonal Neural GPU in C++ (``diagonal_steps.cpp``), for CPUs with bfloat16 products.

Compiled by the machine's own compiler when a training asks for them, and several times as fast as torch's.
Evaluation, export and serving do not know them.

Legend: B batch, C cells, M maps.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("diagonal_steps.cpp")
TILE = 48
"""Maps come in multiples of this."""
FLAGS = ("-O3", "-march=native", "-shared", "-fPIC")

_NUMBER, _POINTER, _FRACTION = ctypes.c_int, ctypes.c_void_p, ctypes.c_float


class NoFastSteps(ValueError):
    """This machine or this network cannot use them; the message is meant for the user."""


@cache
def library() -> ctypes.CDLL:
    """Compile and load them.

    Raises:
        NoFastSteps: there is no compiler, or the processor has no bfloat16 dot products.
    """
    compiler = shutil.which("g++")
    flags = Path("/proc/cpuinfo")
    if compiler is None or not flags.exists() or "avx512_bf16" not in flags.read_text():
        raise NoFastSteps(
            "learning.fast needs g++ and a processor with avx512_bf16; --set learning.fast=false does without"
        )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "diagonal_steps.so"
        command = [compiler, *FLAGS, "-o", str(target), str(SOURCE)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own source
        if made.returncode:
            raise NoFastSteps(f"g++ could not compile {SOURCE.name}: {made.stderr[-500:]}")
        loaded = ctypes.CDLL(str(target))
    settings = (_FRACTION, ctypes.c_uint32, _FRACTION, ctypes.c_uint64, _POINTER)
    loaded.forward.argtypes = (*[_NUMBER] * 4, *[_POINTER] * 10, *settings)
    loaded.forward.restype = ctypes.c_double
    loaded.gradient.argtypes = (*[_NUMBER] * 4, *[_POINTER] * 9, *[_FRACTION] * 3, _POINTER)
    loaded.gradient.restype = None
    return loaded


def check_maps(maps: int) -> None:
    """Make sure that the steps are to be had for a network of so many maps.

    Raises:
        NoFastSteps: they are not.
    """
    if maps % TILE:
        raise NoFastSteps(f"learning.fast needs network.maps to be a multiple of {TILE}, got {maps}")
    library()


def fast_steps(
    state_BCM: Tensor, weights: list[Tensor], saturation: float, dropped: float
) -> tuple[Tensor, Tensor]:
    """Take as many steps as there are cells; all requests have this size.

    Args:
        state_BCM: float32, the first memory.
        weights: as ``models.diagonal_neural_gpu.run_steps`` takes them.
        saturation: the limit of logits.
        dropped: the share of candidates that is dropped.

    Returns:
        The last memory, and the sum of what all logits exceed the limit by.
    """
    last_BCM, excess = _Steps.apply(  # type: ignore[no-untyped-call]  # torch leaves it untyped
        state_BCM, *weights, saturation, dropped
    )
    return last_BCM, excess


def _paired(weights: Tensor) -> Tensor:
    """Lay ``[K, N]`` out as ``[K / 2, N, 2]`` in bfloat16."""
    rows, columns = weights.shape
    return weights.to(torch.bfloat16).view(rows // 2, 2, columns).transpose(1, 2).contiguous()


def _backwards(weights: Tensor) -> Tensor:
    """Turn ``[N, 3M]`` into the convolution that carries gradients back, ``[3N, M]``."""
    left, own, right = weights.chunk(3, dim=1)
    return torch.cat([right, own, left])


def _half(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.bfloat16)


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - autograd hands arguments by position
        ctx: Any,
        state_BCM: Tensor,
        w_gates: Tensor,
        b_gates: Tensor,
        w_candidate: Tensor,
        b_candidate: Tensor,
        saturation: float,
        dropped: float,
    ) -> tuple[Tensor, Tensor]:
        """Run the steps on one line of requests; a row of zeros follows each."""
        batch, cells, maps = state_BCM.shape
        rows = batch * (cells + 1)
        line = torch.zeros(rows + 2, maps)
        of_requests = line[1:-1].view(batch, cells + 1, maps)[:, :cells]
        of_requests.copy_(state_BCM)
        before, gates = _half(cells, rows + 2, maps), _half(cells, rows, 2 * maps)
        reset, candidates = _half(cells, rows + 2, maps), _half(cells, rows, maps)
        kept = torch.empty(cells, rows, maps // 16, dtype=torch.int16)
        arrays = (line, before, gates, reset, candidates, kept)
        made = (_paired(w_gates.t()), b_gates, _paired(w_candidate.t()), b_candidate)
        scratch = torch.empty(rows * 3 * maps + (rows + 2) * maps)
        excess = library().forward(
            *(maps, rows, cells, cells),
            *(array.data_ptr() for array in (*arrays, *made)),
            *(saturation, min(int(dropped * 2**32), 2**32 - 1), 1 / (1 - dropped)),
            *(int(torch.randint(2**62, ())), scratch.data_ptr()),
        )
        ctx.save_for_backward(before, gates, reset, candidates, kept, w_gates, w_candidate)
        ctx.shape, ctx.settings = (batch, cells, maps), (saturation, 1 / (1 - dropped))
        return of_requests.contiguous(), torch.tensor(excess, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Carry the gradient of the last memory back, and gather those of the weights."""
        d_state_BCM, d_excess = gradients
        before, gates, reset, candidates, kept, w_gates, w_candidate = ctx.saved_tensors
        batch, cells, maps = ctx.shape
        rows = batch * (cells + 1)
        line = torch.zeros(rows + 2, maps)
        of_requests = line[1:-1].view(batch, cells + 1, maps)[:, :cells]
        of_requests.copy_(d_state_BCM)
        d_gates, d_candidates = _half(cells, rows + 2, 2 * maps), _half(cells, rows + 2, maps)
        made = (_paired(_backwards(w_gates)), _paired(_backwards(w_candidate)))
        arrays = (line, before, gates, candidates, kept, *made, d_gates, d_candidates)
        scratch = torch.empty(3 * (rows + 2) * maps)
        library().gradient(
            *(maps, rows, cells, cells),
            *(array.data_ptr() for array in arrays),
            *(*ctx.settings, float(d_excess), scratch.data_ptr()),
        )
        gate_weights, gate_biases = _gathered(before, d_gates)
        candidate_weights, candidate_biases = _gathered(reset, d_candidates)
        d_weights = (gate_weights, gate_biases, candidate_weights, candidate_biases)
        return of_requests.contiguous(), *d_weights, None, None


def _gathered(inputs: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of weights ``[N, 3M]`` and biases from all rows of all steps.

    Both have zeros around every line, so neighbours may be taken across all of them at once.
    """
    inputs, logits = inputs.flatten(0, 1), logits.flatten(0, 1)[1:-1]
    count = len(logits)
    parts = [torch.mm(logits.t(), inputs[start : start + count]) for start in range(3)]
    ones = torch.ones(1, count, dtype=torch.bfloat16)
    return torch.cat(parts, dim=1).float(), torch.mm(ones, logits)[0].float()
