"""Problems with digits, generated: random ones, and the structured ones on which learnt arithmetic breaks.

Price, Zaremba and Sutskever (2016, arXiv 1611.00736) found that models without an error on random numbers
fail on long carry chains and symmetric operands, so every claim is made on those as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from server.tasks.computing import OPERANDS, Operation, lay_out, result_digits

Kind = Literal["random", "carry chain", "all highest", "symmetric"]


@dataclass(frozen=True)
class Problem:
    """Operands as a request has them, most significant digit first, and the result."""

    operation: Operation
    base: int
    operands: tuple[str, ...]
    result: str


def solve(operation: Operation, operands: Sequence[str], base: int) -> str:
    """Return the right result; numbers come without leading zeros."""
    match operation:
        case "sort":
            return "".join(sorted(operands[0]))
        case "reverse":
            return operands[0][::-1]
        case "duplicate":
            return operands[0] * 2
    first, second = (int(operand, base) for operand in operands)
    number = first + second if operation == "add" else first * second
    return str(number) if base == 10 else format(number, "b")


def problem(
    operation: Operation, base: int, digits: int, rng: np.random.Generator, kind: Kind = "random"
) -> Problem:
    """Make one problem whose operands have this many digits, leading zeros among them."""
    operands = tuple(KINDS[kind](digits, base, rng)[: OPERANDS[operation]])
    return Problem(operation, base, operands, solve(operation, operands, base))


def kinds(operation: Operation) -> list[Kind]:
    """List the kinds of problems an operation has."""
    return list(KINDS) if OPERANDS[operation] == 2 else ["random", "all highest"]


def encode(problems: Sequence[Problem]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return cells and what they shall hold in the end, both ``[batch, cells]``, for problems of any sizes.

    What follows the result in a request's cells shall hold 0, nothing; beyond its cells the target is -1.
    """
    symbols = [lay_out(one.operation, one.operands, one.base) for one in problems]
    cells = max(map(len, symbols))
    inputs = np.zeros((len(problems), cells), dtype=np.int64)
    targets = np.full((len(problems), cells), -1, dtype=np.int64)
    for row, (one, own) in enumerate(zip(problems, symbols, strict=True)):
        inputs[row, : len(own)] = own
        targets[row, : len(own)] = 0
        wanted = result_symbols(one)
        targets[row, : len(wanted)] = wanted
    return inputs, targets


def result_symbols(one: Problem) -> NDArray[np.int64]:
    """Return the symbols of the result as cells hold them: numbers least significant digit first."""
    text = one.result
    if OPERANDS[one.operation] == 2:
        text = text.zfill(result_digits(one.operation, one.operands))[::-1]
    return np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - ord("0") + 1


def operand_digits(operation: Operation, cells: int) -> int:
    """Return how many digits each operand has where all cells are in use."""
    return max(
        1,
        {"add": cells - 1, "multiply": (cells - 1) // 2, "duplicate": cells // 2}.get(operation, cells),
    )


def _random(digits: int, base: int, rng: np.random.Generator) -> list[str]:
    return ["".join(map(str, rng.integers(0, base, digits))) for _ in range(2)]


def _carry_chain(digits: int, base: int, rng: np.random.Generator) -> list[str]:
    """A run of highest digits that one more at its low end carries through; random around it."""
    first, second = (list(operand) for operand in _random(digits, base, rng))
    low = int(rng.integers(0, max(1, digits // 4)))
    high = digits - int(rng.integers(0, max(1, digits // 4)))
    for place in range(digits - high, digits - low):
        first[place], second[place] = str(base - 1), "0"
    second[digits - low - 1] = "1"
    operands = ["".join(first), "".join(second)]
    return operands if rng.random() < 0.5 else operands[::-1]


def _all_highest(digits: int, base: int, rng: np.random.Generator) -> list[str]:
    """Two runs of the highest digit; the shorter one has at least half the digits."""
    operands = [str(base - 1) * digits, str(base - 1) * int(rng.integers(max(1, digits // 2), digits + 1))]
    return operands if rng.random() < 0.5 else operands[::-1]


def _symmetric(digits: int, base: int, rng: np.random.Generator) -> list[str]:
    """Equal operands, or a palindrome and its like."""
    half = _random(digits, base, rng)[0]
    if rng.random() < 0.5:
        return [half, half]
    palindrome = half[: (digits + 1) // 2] + half[: digits // 2][::-1]
    return [palindrome, palindrome]


KINDS: Mapping[Kind, Callable[[int, int, np.random.Generator], list[str]]] = {
    "random": _random,
    "carry chain": _carry_chain,
    "all highest": _all_highest,
    "symmetric": _symmetric,
}
"""How the operands of each kind are made: always two, of which some operations take one."""


def stream(
    operation: Operation,
    base: int,
    cells: Sequence[int],
    each: int,
    rng: np.random.Generator,
    *,
    structured: float = 0.0,
) -> Iterator[list[Problem]]:
    """Yield batches for ever, each of problems of one size; every round has one for each entry of ``cells``.

    ``cells`` ascends: an entry stands for the sizes up to it and above the one before, of which each round
    draws one. ``structured`` is the share of problems that are not random but of another kind.
    """
    digits = [0, *(operand_digits(operation, size) for size in cells)]
    others = kinds(operation)[1:]
    while True:
        for place in rng.permutation(len(cells)):
            size = int(rng.integers(digits[place] + 1, digits[place + 1] + 1))
            drawn = rng.random(each) < structured
            yield [
                problem(operation, base, size, rng, others[rng.integers(len(others))] if other else "random")
                for other in drawn
            ]
