import json
from pathlib import Path

from models.data.json_lines import read_jsonl
from models.data.sample import sample_stories

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "stories.jsonl"


def answered(example):
    """Answer a sample question by reading the story."""
    place, holder = {}, {}
    for fact in example.story:
        person, verb, *_, last = fact.removesuffix(".").split()
        (place if verb == "walked" else holder)[person if verb == "walked" else last] = (
            last if verb == "walked" else person
        )
    asked = example.question.removesuffix("?").split()[-1]
    return place[holder.get(asked, asked)]


def test_answers_and_supports_are_right():
    examples = [one for facts in (1, 2, 8) for one in sample_stories(40, seed=5, facts=facts)]
    assert {example.task for example in examples} == {"person", "thing"}
    for example in examples:
        assert example.answer == answered(example)
        asked = example.question.removesuffix("?").split()[-1]
        assert asked in example.story[example.supports[0]]
        assert example.answer in example.story[example.supports[-1]]


def test_a_seed_writes_the_same_stories():
    assert sample_stories(5, seed=1) == sample_stories(5, seed=1) != sample_stories(5, seed=2)


def test_the_example_file_holds_such_stories():
    examples = read_jsonl(EXAMPLE)
    assert all(example.answer == answered(example) for example in examples)
    assert len({example.story for example in examples}) > 300
    assert json.loads(EXAMPLE.read_text().splitlines()[0]).keys() == {
        "story",
        "question",
        "answer",
        "supports",
        "task",
    }
