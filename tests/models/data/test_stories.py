import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.sample import sample_stories
from models.data.stories import (
    EncodedStories,
    Example,
    fill_gate_target,
    split_by_story,
    task_order,
    texts_of,
)
from server.contract.text import Vocabulary

HOPS = 3


def encoded(examples):
    words = Vocabulary.from_words(())
    vocabulary = Vocabulary.from_words(
        sorted({word for text in texts_of(examples) for word in words.split(text)})
    )
    answers = sorted({example.answer for example in examples})
    tasks = sorted({example.task for example in examples})
    return EncodedStories(examples, vocabulary, answers, tasks), vocabulary


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (((), "Who?", "Ada"), "the story has no facts"),
        ((("Ada ran.",), " ", "Ada"), "question and answer must not be empty"),
        ((("Ada ran.",), "Who?", ""), "question and answer must not be empty"),
        ((("Ada ran.",), "Who?", "Ada", (1,)), r"supports \(1,\) leave the story of 1 facts"),
        ((("Ada ran.",), "Who?", "Ada", (-1,)), r"supports \(-1,\) leave the story of 1 facts"),
    ],
    ids=["no facts", "no question", "no answer", "support beyond the story", "negative support"],
)
def test_an_example_refuses_what_cannot_be_learnt(fields, message):
    with pytest.raises(ValueError, match=message):
        Example(*fields)


def test_the_last_facts_keep_their_supports():
    example = Example(("a.", "b.", "c.", "d."), "Who?", "x", (3, 0, 2))
    assert example.last_facts(2) == Example(("c.", "d."), "Who?", "x", (1, 0))
    assert example.last_facts(4) is example


@st.composite
def growing_stories(draw):
    """Stories that grow between their questions, as those of bAbI do; some facts come in many stories."""
    examples = []
    for number in range(draw(st.integers(2, 12))):
        facts = (
            f"Story {number} begins.",
            *draw(st.lists(st.sampled_from(["Ada ran.", "Ben ran."]), max_size=4)),
        )
        ends = draw(st.lists(st.integers(1, len(facts)), min_size=1, max_size=3))
        examples += [Example(facts[:end], "Who?", "Ada", (), str(number)) for end in ends]
    return examples


@given(examples=growing_stories(), share=st.floats(0.05, 0.9), seed=st.integers(0, 99))
def test_a_split_shares_no_story_and_loses_no_question(examples, share, seed):
    stories = len({example.task for example in examples})
    training, validation = split_by_story(examples, share, seed)
    assert not {example.task for example in training} & {example.task for example in validation}
    assert sorted(map(id, training + validation)) == sorted(map(id, examples))
    assert len({example.task for example in validation}) == max(1, round(share * stories))


@given(order=st.permutations(range(8)), seed=st.integers(0, 99))
def test_shuffled_questions_about_the_same_facts_stay_together(order, seed):
    examples = [Example((f"Story {i // 2} begins.", "Ada ran."), f"Who {i}?", "Ada") for i in order]
    training, validation = split_by_story(examples, 0.3, seed)
    assert not {example.story for example in training} & {example.story for example in validation}


def test_one_story_cannot_be_split():
    with pytest.raises(ValueError, match="at least two stories"):
        split_by_story([Example(("Ada ran.",), "Who?", "Ada")] * 3, 0.1, 1)


def test_a_batch_holds_every_word_and_nothing_else():
    examples = [
        Example(("Ada walked to the attic.", "Ben ran."), "Where is Ada?", "attic", (0,), "one"),
        Example(("Ben ran.",), "Who ran?", "Ben", (), "two"),
    ]
    stories, vocabulary = encoded(examples)
    batch = stories.batch(np.array([1, 0]), HOPS)
    assert batch.story_BFT.shape == (2, 2, 5)
    assert batch.question_BQ.shape == (2, 3)
    for row, example in enumerate(reversed(examples)):
        for fact, sentence in enumerate(example.story):
            ids = vocabulary.ids(sentence).tolist()
            assert batch.story_BFT[row, fact].tolist() == ids + [0] * (5 - len(ids))
        ids = vocabulary.ids(example.question).tolist()
        assert batch.question_BQ[row].tolist() == ids + [0] * (3 - len(ids))
    assert batch.story_BFT[0, 1].sum() == 0
    assert batch.answer_B.tolist() == [0, 1]
    assert batch.task_B.tolist() == [1, 0]
    assert batch.gate_target_BKF.tolist() == [[[0.0, 0.0]] * HOPS, [[1.0, 0.0]] * HOPS]


def test_an_unknown_answer_is_none_of_the_answers():
    examples = [Example(("Ada ran.",), "Who?", "Ada"), Example(("Ben ran.",), "Who?", "Ben")]
    stories = EncodedStories(examples, encoded(examples)[1], ["Ada"], ["stories"])
    assert stories.answers.tolist() == [0, -1]


@given(max_facts=st.integers(5, 60), max_questions=st.integers(1, 9), seed=st.integers(0, 99))
def test_batches_hold_each_example_once_within_their_bounds(max_facts, max_questions, seed):
    examples = [one for facts in (2, 5, 11) for one in sample_stories(6, seed=1, facts=facts)]
    stories, _ = encoded(examples)
    batches = list(
        stories.batches(np.arange(len(stories)), HOPS, max_facts, max_questions, np.random.default_rng(seed))
    )
    assert sorted(np.concatenate([batch.indices for batch in batches])) == list(range(len(stories)))
    for batch in batches:
        assert len(batch.indices) <= max_questions
        assert batch.story_BFT.shape[0] * batch.story_BFT.shape[1] <= max_facts or len(batch.indices) == 1


@pytest.mark.parametrize(
    ("supports", "expected"),
    [
        ((), [[0, 0, 0, 0]] * HOPS),
        ((2,), [[0, 0, 1, 0]] * HOPS),
        ((3, 1), [[0, 0, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0]]),
        ((3, 1, 0), [[0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]]),
        ((0, 1, 2, 3), [[0.25, 0.25, 0.25, 0.25]] * HOPS),
    ],
    ids=["none", "one", "two", "as many as hops", "more than hops"],
)
def test_each_hop_is_told_where_to_look(supports, expected):
    target_KF = np.zeros((HOPS, 4), dtype=np.float32)
    fill_gate_target(target_KF, supports)
    assert target_KF.tolist() == expected


def test_tasks_are_ordered_as_one_reads_them():
    assert sorted(["10", "2", "thing", "1", "person"], key=task_order) == ["person", "thing", "1", "2", "10"]
