import pytest

from server.tasks.joining import Joiner

CASES = [
    ("The well @-@ known ship sailed .", "The well-known ship sailed."),
    ("It cost $ 1 @,@ 234 @.@ 5 , or 20 % .", "It cost $1,234.5, or 20%."),
    ('He said : " No ! " and left .', 'He said: "No!" and left.'),
    ("Ada 's ship ( in Lisbon ) did n't wait ...", "Ada's ship (in Lisbon) didn't wait..."),
    ("One line . <eos> <eos> Another", "One line.\n\nAnother"),
    ('An open " quote <eos> " closes', 'An open "quote\n"closes'),
    ("10 km / h", "10 km/h"),
    ("the sailors ' union", "the sailors' union"),
]


def joined(words, joiner=None):
    joiner = joiner or Joiner()
    return "".join(joiner.add(word) for word in words.split())


@pytest.mark.parametrize(("words", "text"), CASES, ids=lambda value: value.split()[0])
def test_words_become_text_as_it_is_printed(words, text):
    assert joined(words) == text


def after(words, text):
    joiner = Joiner()
    joiner.follow(words.split(), text)
    return joiner


@pytest.mark.parametrize(
    ("words", "text", "written", "added"),
    [
        ("The", "The", "ship sailed", " ship sailed"),
        ("The", "The ", "ship sailed", "ship sailed"),
        ("The", "The", ", then", ", then"),
        ('said " No', 'said "No', '" and', '" and'),
        ("well @-@", "well-", "known", "known"),
        ("", "", "The", "The"),
        ("line . <eos>", "line.\n", "Next", "Next"),
    ],
    ids=["word", "blank given", "comma", "quote closes", "hyphen", "nothing", "new line"],
)
def test_a_completion_follows_the_given_text(words, text, written, added):
    assert joined(written, after(words, text)) == added
