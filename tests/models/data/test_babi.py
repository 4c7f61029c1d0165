import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data import babi
from models.data.stories import Example

LINES = """\
1 Mary walked home.
2 John sat down.
3 Where is Mary? \thome\t1
4 Mary left.
5 What did they carry? \tMilk,Apple\t2 4

1 A new story begins.
2 Does it?\tYes\t1
"""

PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
STEP = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}
STEP |= {name[0]: step for name, step in STEP.items()}

PATH = Example(
    (
        "The kitchen is north of the garden.",
        "The office is east of the kitchen.",
        "The hallway is west of the garden.",
        "The bedroom is south of the hallway.",
    ),
    "How do you go from the garden to the office?",
    "n,e",
    (0, 1),
    "19",
)
POSITIONS = (
    ("The triangle is above the pink rectangle.", "The blue square is to the left of the triangle."),
    ("The red sphere is below the yellow square.", "The yellow square is to the right of the red square."),
)
ASKED = (
    ("Is the pink rectangle to the right of the blue square?", "yes"),
    ("Is the blue square below the pink rectangle?", "no"),
    ("Is the red sphere to the right of the red square?", "yes"),
    ("Is the red sphere above the red square?", "no"),
)
ANIMALS = Example(
    (
        "Lily is a swan.",
        "Greg is a frog.",
        "Lily is white.",
        "Brian is a swan.",
        "Brian is gray.",
        "Greg is green.",
        "Julius is a swan.",
    ),
    "What color is Julius?",
    "gray",
    (6, 3, 4),
    "16",
)


def words(text):
    return text.lower().rstrip(".?").split()


def place_after(story, question, answer):
    """Walk an answer of task 19 through its story, and say where one starts, arrives and should arrive."""
    at = {}
    for fact in story:
        _, there, _, direction, _, _, here = words(fact)
        at[here, direction[0]] = there
        at[
            there, next(name[0] for name, step in STEP.items() if step == tuple(-x for x in STEP[direction]))
        ] = here
    _, _, _, _, _, _, place, _, _, goal = words(question)
    for direction in answer.split(","):
        place = at[place, direction]
    return place, goal


def position_of(story):
    """Give every shape of a story of task 17 coordinates."""
    seen = {}
    for fact in story:
        first, offset, second = relation(fact)
        if second in seen or not seen:
            x, y = seen.setdefault(second, (0, 0))
            seen[first] = (x + offset[0], y + offset[1])
        else:
            x, y = seen[first]
            seen[second] = (x - offset[0], y - offset[1])
    return seen


def relation(text):
    """Read ``The X is to the left of the Y`` or ``Is the X above the Y``: X, its offset from Y, Y."""
    text = (
        " ".join(words(text))
        .replace("is ", "", 1)
        .replace("to the ", "")
        .replace(" of", "")
        .removeprefix("the ")
    )
    for name, offset in {"left": (-1, 0), "right": (1, 0), "above": (0, 1), "below": (0, -1)}.items():
        if f" {name} the " in text:
            first, second = text.split(f" {name} the ")
            return first, offset, second
    raise AssertionError(text)


def is_so(story, question):
    first, offset, second = relation(question)
    where = position_of(story)
    axis = 0 if offset[0] else 1
    return (where[first][axis] - where[second][axis]) * offset[axis] > 0


def colour_by_induction(story, question):
    """The colour of the other animal of the same kind that was introduced last."""
    kind, colour = {}, {}
    for fact in story:
        name, _, *rest = words(fact)
        (kind if rest[0] == "a" else colour)[name] = rest[-1]
    asked = words(question)[-1]
    return [colour[name] for name in kind if kind[name] == kind[asked] and name in colour][-1]


def test_the_published_format_is_read():
    examples = babi.parse(LINES.splitlines(), "8")
    story = ("Mary walked home.", "John sat down.")
    assert examples == [
        Example(story, "Where is Mary?", "home", (0,), "8"),
        Example((*story, "Mary left."), "What did they carry?", "milk,apple", (1, 2), "8"),
        Example(("A new story begins.",), "Does it?", "yes", (0,), "8"),
    ]


@pytest.fixture
def folder(tmp_path):
    for task in (1, 3):
        for split in ("train", "valid", "test"):
            path = tmp_path / "en-valid-10k" / f"qa{task}_{split}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text(LINES)
    return tmp_path


def test_a_split_is_read_plain_or_compressed(folder):
    plain = folder / "en-valid-10k" / "qa1_test.txt"
    examples = babi.read_task(folder, 1, "test")
    with gzip.open(plain.with_suffix(".txt.gz"), "wt") as compressed:
        compressed.write(plain.read_text())
    plain.unlink()
    assert babi.read_task(folder, 1, "test") == examples
    assert [example.task for example in examples] == ["1"] * 3


def test_the_genuine_training_file_needs_no_note(folder):
    assert babi.load_babi(folder, (1, 3)).notes == ()


def test_the_stand_in_for_task_3_is_said(folder):
    (folder / "en-valid-10k" / "qa3_train.txt").unlink()
    (folder / "supplement").mkdir()
    with gzip.open(folder / "supplement" / "qa3_generated_train.txt.gz", "wt") as stand_in:
        stand_in.write("1 Ann ran.\n2 Who ran?\tAnn\t1\n")
    loaded = babi.load_babi(folder, (1, 3))
    assert [example.task for example in loaded.train] == ["1", "1", "1", "3"]
    assert loaded.notes == (babi.STAND_IN_NOTE,)
    assert babi.load_babi(folder, (1,)).notes == ()


def test_no_other_task_has_a_stand_in(folder):
    (folder / "supplement").mkdir()
    with gzip.open(folder / "supplement" / "qa3_generated_train.txt.gz", "wt") as stand_in:
        stand_in.write(LINES)
    (folder / "en-valid-10k" / "qa1_train.txt").unlink()
    with pytest.raises(FileNotFoundError, match="bAbI task 1 has no train file"):
        babi.load_babi(folder, (1, 3))


@given(seed=st.integers(0, 10**6))
def test_a_renamed_path_still_leads_there(seed):
    copy = babi.rename(PATH, np.random.default_rng(seed))
    place, goal = place_after(copy.story, copy.question, copy.answer)
    assert place == goal
    assert copy.supports == PATH.supports
    assert {word for fact in copy.story for word in words(fact)} <= {*PLACES, *STEP, "the", "is", "of"}


@given(seed=st.integers(0, 10**6), asked=st.integers(0, 3))
def test_renamed_positions_have_the_same_answer(seed, asked):
    question, answer = ASKED[asked]
    copy = babi.rename(
        Example(POSITIONS[asked // 2], question, answer, (0, 1), "17"), np.random.default_rng(seed)
    )
    assert copy.answer == answer
    assert is_so(copy.story, copy.question) == (answer == "yes")


@given(seed=st.integers(0, 10**6))
def test_a_renamed_induction_still_holds(seed):
    copy = babi.rename(ANIMALS, np.random.default_rng(seed))
    assert copy.answer == colour_by_induction(copy.story, copy.question)
    assert copy.supports == ANIMALS.supports


def test_names_of_several_words_trade_places_whole():
    example = Example(
        ("The box of chocolates is bigger than the box.",), "Is the chocolate bigger?", "no", (), "18"
    )
    for seed in range(20):
        copy = babi.rename(example, np.random.default_rng(seed))
        names = {alias for (alias,) in babi.INTERCHANGEABLE["18"][0]}
        first, second = copy.story[0].removeprefix("The ").removesuffix(".").split(" is bigger than the ")
        assert {first, second} <= names
        assert first != second


def test_a_task_without_interchangeable_names_is_left_alone():
    example = Example(("Mary walked home.",), "Where is Mary?", "home", (0,), "1")
    assert babi.rename(example, np.random.default_rng(0)) is example


def test_copies_come_after_the_distinct_examples_and_repeat_nothing():
    many = babi.with_renamed([PATH, PATH], copies=5, seed=2)
    assert many[0] == PATH
    assert len(set(many)) == len(many) > 3
    assert many == babi.with_renamed([PATH, PATH], copies=5, seed=2)
