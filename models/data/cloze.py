"""Cloze questions from any plain text, in the manner of the Children's Book Test (Hill et al. 2016).

Twenty sentences are the document; in the next one a word is replaced by ``@placeholder``. Names are words
capitalised inside sentences, nouns those of a list (``nouns.txt``). Ten candidates, shuffled: the answer and
nine words of its class, drawn uniformly from those of the document.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from server.contract.text import PAD, UNKNOWN, Vocabulary
from server.tasks.passages import PLACEHOLDER

NAME, NOUN = "names", "nouns"
KINDS = (NAME, NOUN)
CONTEXT, CANDIDATES = 20, 10
"""Sentences of a document and candidates of a question, as in the Children's Book Test."""

WORD = r"@\w+|\p{L}(?:\.\p{L})+\.?|\d+(?:[.,]\d+)*|\w+"
"""A word: ``@placeholder`` and ``@entity7``, an abbreviation with points, a number, or letters and digits."""

SENTENCE_END = re.compile(r"(?<=[.?!])[\"'\u201d\u2019)\]]*\s+(?=[\"'\u201c\u2018(\[]?[^\W_a-z])")
ABBREVIATED = re.compile(
    r"(?:^|[\s(.])(?:\w|Mr|Mrs|Ms|Dr|St|Jr|Sr|No|Vol|vs|ca|Lt|Gen|Col|Capt|Sgt|Prof|Rev)\.$"
)
OPENS_ANEW = '"\u201c\u2018:;([-\u2013\u2014*\u2022'
"""A capital after one of these may be that of a sentence inside the sentence, or of a title."""

FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a an and are as at be but by for from he her his i if in into is it its my no not of off on or our she
        so than that the their them then there they this to up was we were what when which who will with you
        your
        """,
    )
)
"""Words that are capitalised in titles and name nothing."""


@dataclass(frozen=True, slots=True)
class Cloze:
    """A question about a document, answered by a word (or words) of the document.

    ``candidates`` may be empty: then every word of the document is one. ``group`` is what the question is
    reported under, ``evidence`` the lines of the document (from 0) that prove the answer, where known.
    """

    document: str
    question: str
    answer: str
    candidates: tuple[str, ...] = ()
    group: str = "questions"
    evidence: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be asked."""
        if not self.document.strip() or not self.question.strip() or not self.answer.strip():
            raise ValueError("document, question and answer must not be empty")
        if self.candidates and self.answer not in self.candidates:
            raise ValueError(f"the answer {self.answer!r} is not among the candidates")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with its words (normalised), their places in the text, and which can be asked for."""

    text: str
    words: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    kinds: tuple[str, ...]
    """For each word ``names``, ``nouns`` or nothing."""

    def asking_for(self, place: int) -> str:
        """Return the sentence with one of its words replaced by the placeholder."""
        start, end = self.places[place]
        return f"{self.text[:start]}{PLACEHOLDER}{self.text[end:]}"


def reading_vocabulary(words: Iterable[str]) -> Vocabulary:
    """Build a vocabulary that cuts running text: lower case, ``Mary's`` is two words, punctuation none.

    The placeholder is always its first word.
    """
    known = dict.fromkeys((PLACEHOLDER, *words))
    ids = {word: place for place, word in enumerate((PAD, UNKNOWN, *known))}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True)
    return Vocabulary(tokenizer)


@cache
def common_nouns() -> frozenset[str]:
    """Return the checked-in list of common nouns."""
    return frozenset(resources.files("models.data").joinpath("nouns.txt").read_text().split())


def split_text(text: str) -> list[str]:
    """Cut running text into sentences: at line ends, and after ``.?!`` before a capital, a digit or a quote.

    A point after a single letter or a common title (``Dr.``) ends nothing.
    """
    sentences: list[str] = []
    for line in filter(str.strip, text.splitlines()):
        start = 0
        for match in SENTENCE_END.finditer(line):
            if not ABBREVIATED.search(line[start : match.start()]):
                sentences.append(line[start : match.end()].strip())
                start = match.end()
        sentences.append(line[start:].strip())
    return [sentence for sentence in sentences if any(map(str.isalnum, sentence))]


def read_sentence(text: str, cutter: Vocabulary) -> Sentence:
    """Cut a sentence into words and find its names and nouns."""
    spans = cutter.spans(text)
    kinds = [_kind(text, place, spans) for place in range(len(spans))]
    words, places = [word for word, _, _ in spans], [(start, end) for _, start, end in spans]
    return Sentence(text, tuple(words), tuple(places), tuple(kinds))


def _kind(text: str, place: int, spans: Sequence[tuple[str, int, int]]) -> str:
    word, start, _ = spans[place]
    if len(word) < 2 or word in FUNCTION_WORDS or not word[0].isalpha():
        return ""
    if text[start].islower():
        return NOUN if word in common_nouns() else ""
    inside = place > 0 and text[:start].rstrip()[-1:] not in OPENS_ANEW
    return NAME if inside and text[start].isupper() else ""


def cloze_questions(
    documents: Sequence[Sequence[Sentence]],
    kind: str,
    count: int,
    seed: int,
    *,
    context: int = CONTEXT,
    candidates: int = CANDIDATES,
) -> list[Cloze]:
    """Make up to ``count`` questions of one kind, no two about the same sentence.

    The answer is a word of that kind that the document holds, and the document has at least as many different
    words of that kind as there shall be candidates.

    Args:
        documents: texts as sentences in order; a question never looks across two of them.
        kind: ``names`` or ``nouns``.
        count: how many; fewer where the text has no more.
        seed: decides which, and the candidates.
        context: sentences before the one that is asked about.
        candidates: how many each question has.
    """
    rng = np.random.default_rng(seed)
    places = [(document, last) for document in documents for last in range(context, len(document))]
    questions: list[Cloze] = []
    for number in rng.permutation(len(places)):
        if len(questions) == count:
            break
        document, last = places[number]
        found = _question(document[last - context : last], document[last], kind, candidates, rng)
        questions += [found] if found else []
    return questions


def _question(
    context: Sequence[Sentence], asked: Sentence, kind: str, candidates: int, rng: np.random.Generator
) -> Cloze | None:
    present = {word for sentence in context for word in sentence.words}
    others = words_of_kind(context, kind)
    answers = [
        place for place, word in enumerate(asked.words) if asked.kinds[place] == kind and word in present
    ]
    if not answers:
        return None
    place = int(rng.choice(answers))
    answer = asked.words[place]
    others = [word for word in others if word != answer]
    if len(others) < candidates - 1:
        return None
    drawn = [answer, *rng.choice(others, candidates - 1, replace=False).tolist()]
    shuffled = tuple(drawn[number] for number in rng.permutation(candidates))
    text = "\n".join(sentence.text for sentence in context)
    return Cloze(text, asked.asking_for(place), answer, shuffled, kind)


def words_of_kind(sentences: Iterable[Sentence], kind: str) -> list[str]:
    """Return the different words that are names (nouns) somewhere in these sentences, in order."""
    return list(
        dict.fromkeys(
            word
            for sentence in sentences
            for word, own in zip(sentence.words, sentence.kinds, strict=True)
            if own == kind
        )
    )


def most_frequent_candidate(document: Sequence[str], candidates: Sequence[str]) -> str:
    """Guess the candidate that the document's words hold most often, of equal ones the first to come."""
    counts = Counter(document)
    first = {word: place for place, word in reversed(list(enumerate(document)))}
    return min(candidates, key=lambda word: (-counts[word], first.get(word, len(document))))


def most_recent_candidate(document: Sequence[str], candidates: Sequence[str]) -> str:
    """Guess the candidate that was mentioned last."""
    last = {word: place for place, word in enumerate(document)}
    return max(candidates, key=lambda word: last.get(word, -1))
