from typing import NamedTuple

import numpy as np
import pytest
import torch

from models.translator import SearchOptions, padded, translate
from server.contract.subwords import END_ID, START_ID
from tests.models.translation_builders import ids, network


class Memory(NamedTuple):
    rows_BX: torch.Tensor


class Table:
    """Speaks by a table: the probabilities of the next piece depend on the last one alone."""

    def __init__(self, table, most=5):
        self.table = table
        self.limit = most

    def encode(self, source_BS):
        return Memory(source_BS), (source_BS[:, :1] * 0,)

    def decode(self, target_BT, state, memory):
        assert len(target_BT) == len(state[0]) == len(memory.rows_BX)
        readout = torch.tensor([[self.table.get(int(row[0]), chances(end=1))] for row in target_BT])
        return readout, torch.zeros(len(target_BT), 1, 1), (state[0] + 1,)

    def logits(self, readout):
        return readout.log()

    def most(self, source_pieces):
        return self.limit


A, B = 4, 5
REST = 1e-9


def chances(**of):
    """Probabilities of the next piece: those given, and next to nothing for the others."""
    row = [REST] * 6
    for piece, chance in of.items():
        row[{"end": END_ID, "a": A, "b": B}[piece]] = chance
    return row


TEMPTING = {
    START_ID: chances(a=0.6, b=0.4),
    A: chances(a=0.4, b=0.3, end=0.3),
    B: chances(end=0.98, a=0.02),
}
"""The best first piece leads into a worse sentence."""


def test_greedy_takes_the_best_piece_of_each_step_until_the_end():
    table = {START_ID: chances(a=0.7, b=0.3), A: chances(b=0.9, end=0.1), B: chances(end=0.6, a=0.4)}
    (found,) = translate(Table(table), [np.array([7, END_ID])], SearchOptions())
    assert found.ids.tolist() == [A, B]
    assert found.ended
    assert found.score == pytest.approx(np.log(0.7 * 0.9 * 0.6) / 3, abs=1e-5)


@pytest.mark.parametrize("beam", [1, 2], ids=["greedy", "beam"])
def test_what_does_not_end_is_cut(beam):
    table = {START_ID: chances(a=0.5, b=0.5), A: chances(a=0.6, b=0.4), B: chances(b=0.5, a=0.5)}
    (found,) = translate(Table(table, most=3), [np.array([7])], SearchOptions(beam))
    assert found.ids.tolist() == [A, A, A]
    assert not found.ended


def test_a_beam_finds_what_greedy_misses():
    source = [np.array([7, END_ID])]
    (greedy,) = translate(Table(TEMPTING), source, SearchOptions())
    (best,) = translate(Table(TEMPTING), source, SearchOptions(beam=2))
    assert greedy.ids.tolist()[:1] == [A]
    assert best.ids.tolist() == [B]
    assert best.score == pytest.approx(np.log(0.4 * 0.98) / 2, abs=1e-5)


def test_the_power_of_length_decides_between_short_and_long():
    table = {
        START_ID: chances(a=0.55, b=0.45),
        A: chances(end=0.5, b=0.5),
        B: chances(b=0.6, end=0.4),
    }
    source = [np.array([7])]
    lengths = [
        len(translate(Table(table), source, SearchOptions(beam=3, length_power=power))[0].ids)
        for power in (0, 3)
    ]
    assert lengths[0] == 1 < lengths[1]


@pytest.mark.parametrize("variant", ["attention", "window", "whole canvas", "plain"])
@pytest.mark.parametrize("beam", [1, 3], ids=["greedy", "beam"])
def test_a_batch_is_translated_as_one_by_one(variant, beam):
    net, rng = network(variant), np.random.default_rng(2)
    sources = [ids(rng, length) for length in (6, 1, 3)]
    together = translate(net, sources, SearchOptions(beam))
    for source, found in zip(sources, together, strict=True):
        (alone,) = translate(net, [source], SearchOptions(beam))
        assert alone.ids.tolist() == found.ids.tolist()
        assert alone.score == pytest.approx(found.score, abs=1e-5)
        assert len(found.ids) <= net.most(len(source))


def test_padding_fills_on_the_right():
    assert padded([np.array([4, 5]), np.array([6])]).tolist() == [[4, 5], [6, 0]]
