import numpy as np
import pytest

from models.data.arithmetic import encode, kinds, operand_digits, problem, result_symbols, solve
from server.tasks.computing import OPERANDS, lay_out, read_digits, result_digits

OPERATIONS = list(OPERANDS)


@pytest.mark.parametrize(
    ("operation", "operands", "base", "result"),
    [
        ("add", ("11", "1"), 2, "100"),
        ("add", ("95", "7"), 10, "102"),
        ("multiply", ("101", "11"), 2, "1111"),
        ("sort", ("3120",), 10, "0123"),
        ("reverse", ("1100",), 2, "0011"),
        ("duplicate", ("10",), 2, "1010"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_results_are_right(operation, operands, base, result):
    assert solve(operation, operands, base) == result


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("base", [2, 10])
def test_what_cells_shall_hold_reads_as_the_result(operation, base):
    rng = np.random.default_rng(4)
    for digits in (1, 2, 7):
        for kind in kinds(operation):
            one = problem(operation, base, digits, rng, kind)
            symbols = result_symbols(one)
            assert (
                len(symbols)
                == result_digits(operation, one.operands)
                <= len(lay_out(operation, one.operands, base))
            )
            assert read_digits(operation, symbols - 1) == one.result


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("cells", [1, 2, 5, 12, 41])
def test_operands_fill_no_more_than_the_cells(operation, cells):
    digits = operand_digits(operation, cells)
    used = len(lay_out(operation, ["1" * digits] * 2, 2))
    assert used <= max(cells, len(lay_out(operation, ["1"] * 2, 2)))


def test_a_carry_chain_is_long():
    rng = np.random.default_rng(1)
    for _ in range(20):
        one = problem("add", 2, 40, rng, "carry chain")
        first, second = (int(operand, 2) for operand in one.operands)
        carries = bin((first ^ second ^ (first + second)) >> 1).count("1")
        assert carries >= 18


def test_batches_mix_sizes_and_mark_what_is_outside():
    problems = [problem("multiply", 2, digits, np.random.default_rng(2)) for digits in (1, 3)]
    symbols_BC, targets_BC = encode(problems)
    assert symbols_BC.shape == targets_BC.shape == (2, 7)
    assert (symbols_BC[0, 3:] == 0).all()
    assert (targets_BC[0, 3:] == -1).all()
    assert (targets_BC[1] >= 0).all()
