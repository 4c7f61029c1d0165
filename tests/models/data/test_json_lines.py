import json

import pytest

from models.data.json_lines import read_jsonl
from models.data.stories import Example

GOOD = {"story": ["Ada ran.", "Ben sat."], "question": "Who ran?", "answer": "Ada"}


@pytest.fixture
def write(tmp_path):
    def written(*lines):
        path = tmp_path / "my.jsonl"
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
        return path

    return written


def test_a_line_is_an_example(write):
    path = write(GOOD, "", GOOD | {"supports": [1, 0], "task": "running"})
    story = ("Ada ran.", "Ben sat.")
    assert read_jsonl(path) == [
        Example(story, "Who ran?", "Ada"),
        Example(story, "Who ran?", "Ada", (1, 0), "running"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{story", "JSON is malformed"),
        ("[]", "Expected `object`, got `array`"),
        ({"story": ["Ada ran."], "answer": "Ada"}, "Object missing required field `question`"),
        (GOOD | {"support": [0]}, "Object contains unknown field `support`"),
        (GOOD | {"story": "Ada ran."}, r"Expected `array`, got `str` - at `\$\.story`"),
        (GOOD | {"story": ["Ada ran.", 5]}, r"Expected `str`, got `int` - at `\$\.story\[1\]`"),
        (GOOD | {"answer": None}, r"Expected `str`, got `null` - at `\$\.answer`"),
        (GOOD | {"supports": ["0"]}, r"Expected `int`, got `str` - at `\$\.supports\[0\]`"),
        (GOOD | {"supports": [2]}, r"supports \(2,\) leave the story of 2 facts"),
        (GOOD | {"story": []}, "the story has no facts"),
        (GOOD | {"story": ["Ada ran.", "?!"]}, r"story\[1\] has no words: '\?!'"),
        (GOOD | {"question": "..."}, r"question has no words: '\.\.\.'"),
        (GOOD | {"answer": " "}, "question and answer must not be empty"),
        (GOOD | {"task": ""}, r"Expected `str` of length >= 1 - at `\$\.task`"),
    ],
    ids=[
        "broken JSON",
        "no object",
        "field missing",
        "field misspelt",
        "story as text",
        "fact as number",
        "no answer",
        "support as text",
        "support beyond the story",
        "empty story",
        "fact without words",
        "question without words",
        "blank answer",
        "empty task",
    ],
)
def test_a_wrong_line_is_named_with_its_reason(write, line, reason):
    with pytest.raises(ValueError, match=rf"my\.jsonl, line 3: {reason}"):
        read_jsonl(write(GOOD, "", line, GOOD))


def test_text_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "my.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n" + b'{"story": ["\xff"]}')
    with pytest.raises(ValueError, match=r"my\.jsonl, line 2: "):
        read_jsonl(path)


def test_a_file_without_examples_is_refused(write):
    with pytest.raises(ValueError, match=r"my\.jsonl holds no examples"):
        read_jsonl(write("", ""))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file "):
        read_jsonl(tmp_path / "my.jsonl")
