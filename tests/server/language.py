"""A language model whose step is plain arithmetic, and its bundle: what task and state are tested on.

After word w comes w + 1 with half of what is left to the vocabulary. The pointer gives the same weight to
every place of the window, ``POINTED`` in all; an empty window leaves everything to the vocabulary.
"""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from server.contract.bundle import Bundle
from server.contract.manifest import AttentionSpec, Manifest, Signature, Stage, TensorSpec
from server.contract.text import PAD, UNKNOWN, Vocabulary

WORDS = ["<eos>", "Ada", "sailed", "to", "Lisbon", ".", "the", "@-@", '"', "'s"]
V, L, H, POINTED = len(WORDS) + 2, 5, 3, 0.25
LIMITS = {"max_text_words": 40, "max_words": 4, "window": L}


def spec(name, datatype, *dims):
    return TensorSpec(name=name, datatype=datatype, dims=("batch", *dims))


STATE = (("hidden", "FP32", (1, H)), ("window_words", "INT64", (L,)))
STEP = Stage(
    inputs=(spec("words", "INT64", "words"), *(spec(name, kind, *dims) for name, kind, dims in STATE)),
    outputs=(
        spec("probabilities", "FP32", V),
        spec("attention", "FP32", "words", L + 1),
        *(spec(f"next_{name}", kind, *dims) for name, kind, dims in STATE),
    ),
)
ATTENTION = AttentionSpec(
    output="attention", kind="pointer_mixture", axes=("word", "window"), normalized_over="window"
)


def step(words, hidden, window_words):
    """Run one row: ``hidden`` counts the words that were read, the rest follows from the window."""
    seen = [*window_words[0].tolist()]
    attention = []
    for word in words[0].tolist():
        seen = [*seen, word][-L:]
        real = np.array([float(one != 0) for one in seen])
        attention.append([*(POINTED * real / real.sum()), 1 - POINTED])
    last = seen[-1]
    vocabulary = np.full(V, 0.5 / (V - 2))
    vocabulary[0] = 0.0
    following = last + 1 if last + 1 < V else 2
    vocabulary[following] = 0.5
    probabilities = vocabulary / vocabulary.sum() * (1 - POINTED)
    np.add.at(probabilities, seen, np.array(attention[-1][:-1]))
    return {
        "probabilities": probabilities[None].astype(np.float32),
        "attention": np.array([attention], np.float32),
        "next_hidden": hidden + np.float32(words.shape[1]),
        "next_window_words": np.array([seen]),
    }


def vocabulary():
    ids = {word: place for place, word in enumerate((PAD, UNKNOWN, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Replace("\n", " <eos> ")
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Vocabulary(tokenizer)


def language_bundle(name="language", version=1, graph="0" * 64, **changes):
    """Return a bundle in memory; ``graph`` is the checksum of its graph."""
    fields = {
        "name": name,
        "task": "complete",
        "family": "arithmetic",
        "description": "Counts on.",
        "graphs": dict.fromkeys(("model", "step", "golden", "step_golden"), "model.onnx"),
        "signature": Signature(inputs=STEP.inputs, outputs=STEP.outputs, attention=ATTENTION),
        "stages": {"step": STEP},
        "limits": LIMITS,
        "tokenizer": "tokenizer.json",
        "files": {f"{version}/model.onnx": graph},
    }
    return Bundle(Path(name), version, Manifest(**fields | changes), vocabulary())


def drive(search, arrays, wanted):
    """Walk a search to its end, as the server does, and return its answer, its events and what it fed."""
    state, events, fed = {name: array[None] for name, array in arrays.items()}, [], []
    while not search.finished:
        inputs, parents = search.feed()
        assert list(parents) == [0]
        fed.append(inputs["words"][0].tolist())
        outputs = step(**inputs, **state)
        state = {name: outputs[f"next_{name}"] for name in state}
        events += search.advance({name: outputs[name] for name in wanted})
    return search.answer(), events, fed
