"""Tokenizers of running text: how a language model's words are cut, as a ``tokenizer.json``.

Two ways of cutting, named after the corpora whose published form they reproduce. Text that is already cut in
that way stays as it is, so raw text and a corpus go through the same tokenizer. A line end becomes a word of
its own, ``<eos>``; what the model does not know becomes the unknown word, ``<unk>`` of a corpus included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from server.contract.text import PAD, UNKNOWN

Style = Literal["wikitext", "ptb"]

END_OF_LINE = "<eos>"
CORPUS_UNKNOWN = "<unk>"
"""How the published corpora write a word that is too rare: not a word of its own here."""

SINGLE_QUOTES = "\u2018\u2019"

ABBREVIATIONS = """
    Mr Mrs Ms Dr Jr Sr St Mt Ft No Nos Vol vol Op op Rev Hon Prof Gen Maj Col Lt Capt Cpt Sgt Cpl Adm Cmdr Gov
    Sen Rep Pres Inc Ltd Co Corp Bros vs etc ca cf ed eds pp al approx Jan Feb Mar Apr Aug Sept Sep Oct Nov
    Dec Ph Pvt Brig Messrs Msgr Ave Blvd Rd Pt Pts Gens Drs Sens Reps Esq Det Insp Supt Nr var ssp lit Ch
    Calif Mass Ky Fla Mich Ariz Ill Tenn Md Conn Ind Pa Nev Colo Ala Wash Ga Va
""".split()  # noqa: SIM905 - a list of words reads best as one
"""Words that keep their full stop in the middle of a sentence, beside initials (``J.``, ``U.S.``)."""


def tokenizer(words: Iterable[str], style: Style) -> Tokenizer:
    """Build a word-level tokenizer that gives ids 2, 3, ... to ``words``.

    Raises:
        ValueError: a word comes twice.
    """
    known = list(words)
    ids = {word: place for place, word in enumerate((PAD, UNKNOWN, *known))}
    if len(ids) != len(known) + 2:
        raise ValueError("a word comes twice")
    built = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    built.normalizer, built.pre_tokenizer = (_ptb if style == "ptb" else _wikitext)()
    return built


def cut(text: str, style: Style) -> list[str]:
    """Cut text into words, whatever they are."""
    knows_nothing = tokenizer((), style)
    normal = knows_nothing.normalizer.normalize_str(text)
    return [word for word, _ in knows_nothing.pre_tokenizer.pre_tokenize_str(normal)]


def by_frequency(words: Iterable[str], at_least: int = 1) -> list[str]:
    """Return the words seen ``at_least`` so often: the end of a line, then the most frequent ones first."""
    counts = Counter(words)
    for apart in (END_OF_LINE, CORPUS_UNKNOWN):
        counts.pop(apart, None)
    frequent = [word for word, count in counts.items() if count >= at_least]
    return [END_OF_LINE, *sorted(frequent, key=lambda word: (-counts[word], word))]


def _wikitext() -> tuple[normalizers.Normalizer, pre_tokenizers.PreTokenizer]:
    """Cut as in WikiText: Moses tokenisation, and ``@-@``, ``@,@``, ``@.@`` for signs inside a word."""
    ends_sentence = rf"(?<=[^\s.@]){_not_after(ABBREVIATIONS)}\.(?=\s|$|[\"')\]])(?!\s+\p{{Ll}})"
    signs = r"[^\p{L}\p{N}\p{M}\s.'`,\-<>@]|(?<!@),(?!@)(?!(?<=\p{N},)\p{N})|\.{2,}"
    cutting = f"{ends_sentence}|{signs}|(?<=[\\p{{L}}\\p{{N}}])'(?![\\p{{L}}\\p{{N}}])"
    return (
        normalizers.Sequence(
            [
                normalizers.NFC(),
                normalizers.Replace("\n", f" {END_OF_LINE} "),
                normalizers.Replace(Regex(r"(?<=\S)[“”]|[“”](?=\S)"), '"'),
                normalizers.Replace(Regex(rf"(?<=\S)[{SINGLE_QUOTES}]|[{SINGLE_QUOTES}](?=\S)"), "'"),
                normalizers.Replace(Regex(r"(?<=\p{N}),(?=\p{N}++(?!\p{L}))"), " @,@ "),
                normalizers.Replace(Regex(r"(?<=\p{N})\.(?=\p{N})"), " @.@ "),
                normalizers.Replace(Regex(r"(?<=[\p{L}\p{N}.])-(?=[\p{L}\p{N}])"), " @-@ "),
                normalizers.Replace(Regex(r"(?<=[\p{L}\p{N}])'(?=\p{L})"), " '"),
            ]
        ),
        pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(cutting), "isolated"), pre_tokenizers.WhitespaceSplit()]
        ),
    )


def _ptb() -> tuple[normalizers.Normalizer, pre_tokenizers.PreTokenizer]:
    """Cut as in Mikolov's Penn Treebank: lower case, numbers are ``N``, no punctuation, ``do n't``."""
    abbreviations = [*ABBREVIATIONS, *map(str.lower, ABBREVIATIONS)]
    ends_sentence = rf"(?<=[^\s.]){_not_after(abbreviations)}\.(?=[\"')\]]*(\s+[\"(]?\p{{Lu}}|\s*$))"
    return (
        normalizers.Sequence(
            [
                normalizers.NFC(),
                normalizers.Replace(Regex(ends_sentence), " "),
                normalizers.Replace("\n", f" {END_OF_LINE} "),
                normalizers.Lowercase(),
                normalizers.Replace(Regex(r'[;:!?"()\[\]]|,(?!\p{N})'), " "),
                normalizers.Replace(Regex(r"(?<!\S)(n|\p{N}[\p{N},.]*)(?!\S)"), "N"),
                normalizers.Replace(Regex(r"(?<=\$)\p{N}[\p{N},.]*(?!\S)"), " N"),
                normalizers.Replace(Regex(f"[{SINGLE_QUOTES}]"), "'"),
                normalizers.Replace(Regex(r"(?<=\p{L})n't(?!\p{L})"), " n't"),
                normalizers.Replace(Regex(r"(?<=\p{L})'(?=(s|re|ve|ll|m|d)(?!\p{L}))"), " '"),
            ]
        ),
        pre_tokenizers.WhitespaceSplit(),
    )


def _not_after(abbreviations: Iterable[str]) -> str:
    """Write that a full stop does not follow an abbreviation or a single letter."""
    return "".join(f"(?<!\\b{word})" for word in (*dict.fromkeys(abbreviations), "\\p{L}"))
