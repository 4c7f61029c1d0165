import numpy as np

from server.api.heat_map import colour
from server.api.shaded_text import MOST_LINES, Listed, places_of, shaded_text

DOCUMENT = "Mary's lobster is blue.\nA crab is <red>."
WORDS = ["Mary", "s", "lobster", "is", "blue", "A", "crab", "is", "red"]
WEIGHTS = np.array([0.1, 0.1, 0.5, 0.0, 0.1, 0.0, 0.2, 0.0, 0.0])
LISTED = [Listed("lobster", 0.7), Listed("crab", 0.3)]


def drawn(document=DOCUMENT, words=WORDS, weights=WEIGHTS):
    places = places_of(words, document)
    answer = [places[2]]
    heading = ("lobster (70%)", "reader:1")
    return shaded_text(document, places, weights, answer, candidates=LISTED, heading=heading)


def test_every_word_is_there_and_the_text_is_escaped():
    svg = drawn().svg().decode()
    assert all(f">{piece}<" in svg for piece in ("lobster", "blue.", "crab", "&lt;red&gt;."))
    assert "lobster (70%)" in svg


def test_a_piece_is_shaded_by_the_attention_of_all_its_words():
    boxes = {box.tip: box.fill for box in drawn().shapes if getattr(box, "tip", "")}
    assert boxes == {
        "Mary's: 0.2000": colour(0.4),
        "lobster: 0.5000": colour(1.0),
        "blue.: 0.1000": colour(0.2),
        "crab: 0.2000": colour(0.4),
    }


def test_the_answer_is_bold_and_a_paragraph_begins_a_line():
    texts = {text.text: text for text in drawn().shapes if hasattr(text, "text")}
    assert [text for text in texts if texts[text].bold] == ["lobster (70%)", "lobster"]
    assert texts["A"].y > texts["blue."].y
    assert texts["A"].x == texts["Mary's"].x


def test_candidates_are_listed_with_their_probability():
    svg = drawn().svg().decode()
    assert "0.700" in svg
    assert "0.300" in svg


def test_a_long_document_is_shown_where_it_was_looked_at():
    count = MOST_LINES + 50
    words = [f"w{place}" for place in range(count)]
    weights = np.zeros(count)
    weights[-1] = 1.0
    drawing = drawn("\n".join(words), words, weights)
    shown = [text.text for text in drawing.shapes if hasattr(text, "text")]
    assert f"w{count - 1}" in shown
    assert f"the {MOST_LINES} strongest of {count} lines" in shown[1]


def test_a_document_can_be_painted_as_png():
    assert drawn().png().startswith(b"\x89PNG")
