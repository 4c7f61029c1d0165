"""The search for a translation: who is followed, when it ends, and what is told on the way."""

from collections import namedtuple

import numpy as np
import pytest

from server.contract.subwords import END_ID, START_ID
from server.errors import RunError
from server.tasks.translating_search import Aim, TranslatingSearch

A, B, C = 4, 5, 6
Event = namedtuple("Event", "piece place")


def walk(chances, beam=1, most=9, length_power=1.0):
    """Search where ``chances`` says by the last piece how probable the next ones are.

    Returns the hypothesis that was found, the events of each step, and the most rows that were fed.
    """
    search = TranslatingSearch(
        Aim(beam, most, length_power),
        lambda found: found,
        lambda found, place: Event(found.pieces[place], place),
    )
    told, rows = [], 0
    while not search.finished:
        feed, parents = search.feed()
        assert len(parents) == len(feed["previous_token"])
        rows = max(rows, len(parents))
        scores = np.full((len(parents), 7), -1e9, np.float32)
        for row, last in enumerate(feed["previous_token"].tolist()):
            for piece, chance in chances.get(last, {}).items():
                scores[row, piece] = np.log(chance)
        attention = np.repeat(feed["previous_token"][:, None], 2, axis=1).astype(np.float32)
        told.append(list(search.advance({"log_probabilities": scores, "attention": attention})))
    return search.answer(), told, rows


GREEDY_FAILS = {
    START_ID: {A: 0.6, B: 0.4},
    A: {C: 0.5, END_ID: 0.5},
    B: {END_ID: 1.0},
    C: {END_ID: 0.1, A: 0.9},
}


def test_greedy_follows_the_best_piece_and_ends_at_the_limit():
    found, _, rows = walk(GREEDY_FAILS | {A: {C: 0.6, END_ID: 0.4}}, most=3)
    assert found.pieces == (A, C, A)
    assert not found.ended
    assert found.total == pytest.approx(np.log([0.6, 0.6, 0.9]).sum(), rel=1e-5)
    assert rows == 1


def test_an_end_right_after_the_last_piece_counts():
    found, *_ = walk({START_ID: {A: 1.0}, A: {END_ID: 1.0}}, most=1)
    assert found.pieces == (A,)
    assert found.ended


def test_a_beam_finds_what_greedy_misses():
    found, _, rows = walk(GREEDY_FAILS, beam=2)
    assert found.pieces == (B,)
    assert found.total == pytest.approx(np.log(0.4), rel=1e-5)
    assert found.length == 2
    assert rows == 2


def test_the_power_of_the_length_decides_between_short_and_long():
    chances = {START_ID: {A: 0.55, END_ID: 0.45}, A: {END_ID: 0.75, B: 0.25}}
    assert walk(chances, beam=2, length_power=0.0)[0].pieces == ()
    assert walk(chances, beam=2, length_power=1.0)[0].pieces == (A,)


def test_attention_rows_are_those_of_the_pieces_own_past():
    found, *_ = walk(GREEDY_FAILS, beam=2)
    assert [row[0] for row in found.rows] == [START_ID]


def test_greedy_tells_every_piece_at_once():
    found, told, _ = walk({START_ID: {A: 1.0}, A: {B: 1.0}, B: {END_ID: 1.0}})
    assert told == [[Event(A, 0)], [Event(B, 1)], []]
    assert found.pieces == (A, B)


def test_a_beam_tells_what_no_hypothesis_can_take_back():
    chances = {
        START_ID: {A: 0.6, B: 0.4},
        A: {C: 0.7, B: 0.3},
        B: {END_ID: 0.9, C: 0.1},
        C: {END_ID: 0.9, A: 0.1},
    }
    found, told, _ = walk(chances, beam=2)
    assert not told[0]
    assert [event for events in told for event in events] == [
        Event(piece, place) for place, piece in enumerate(found.pieces)
    ]


def test_what_is_not_a_number_is_refused():
    search = TranslatingSearch(Aim(1, 3, 1.0), lambda found: found)
    with pytest.raises(RunError, match="not a number"):
        search.advance({"log_probabilities": np.full((1, 7), np.nan, np.float32)})
    beam = TranslatingSearch(Aim(2, 3, 1.0), lambda found: found)
    with pytest.raises(RunError, match="not a number"):
        beam.advance({"log_probabilities": np.array([[0, np.nan, 1, 2, 3, 4, 5]], np.float32)})
