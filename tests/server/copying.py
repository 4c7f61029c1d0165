"""A translator whose translation is the text itself: what becomes of sentences shows in what comes back.

Each step looks at one piece and says it, with the log-probability ``SAID``; at the end mark it ends.
``weight`` is how much a step looks: 1 for an alignment, anything for active memory.
"""

import json
from functools import cache, partial

import numpy as np

from server.contract.bundle import Bundle, Probes
from server.contract.manifest import AttentionSpec, Signature, Stage, TensorSpec
from server.contract.subwords import END_ID, Subwords
from server.runtime.options import RuntimeOptions
from server.runtime.repository import Repository
from server.runtime.stepwise.stages import StageSessions
from tests.server.counting import StageSession
from tests.server.fakes import hashes

SAID, UNSAID = -0.25, -9.0
MOST_PIECES = 12


@cache
def subwords():
    texts = ["A dog runs.", "Two women read a map.", "Un chien court.", "Ein Hund rennt."]
    return Subwords.learn(texts, 320)


def spec(name, datatype, *dims):
    return TensorSpec(name=name, datatype=datatype, dims=("batch", *dims))


PIECES, SOURCE, PLACE = (
    spec("pieces", "INT64", "source_tokens"),
    spec("source_tokens", "INT64", "source_tokens"),
    spec("place", "INT64"),
)
ENCODER = Stage(inputs=(SOURCE,), outputs=(PIECES, PLACE, spec("most_steps", "INT64")))
STEP = Stage(
    inputs=(PIECES, PLACE, spec("previous_token", "INT64")),
    outputs=(
        spec("next_place", "INT64"),
        spec("log_probabilities", "FP32", len(subwords())),
        spec("attention", "FP32", "source_tokens"),
    ),
)


def encode(source_tokens):
    lengths = (source_tokens > 0).sum(axis=1)
    return {"pieces": source_tokens, "place": np.zeros(len(lengths), np.int64), "most_steps": lengths}


def step(pieces, place, previous_token, weight=1.0):
    rows = np.arange(len(place))
    log_p = np.full((len(place), len(subwords())), UNSAID, np.float32)
    log_p[rows, pieces[rows, place]] = SAID
    attention = np.zeros(pieces.shape, np.float32)
    attention[rows, place] = weight
    return {
        "next_place": np.minimum(place + 1, pieces.shape[1] - 1),
        "log_probabilities": log_p,
        "attention": attention,
    }


class WholeSession:
    """The whole graph, which nothing here asks."""

    runtime = "onnx"
    device = "cpu"

    def run(self, inputs, outputs):
        return {"attention": np.zeros((len(inputs["source_tokens"]), 1), np.float32)}

    def close(self):
        pass


def write_copying_bundle(folder, kind="alignment", *, target="fr", default=True):
    """Write a bundle without graphs; ``open_copying`` serves it."""
    (folder / "1").mkdir(parents=True)
    (folder / "1/graph.onnx").write_bytes(b"none")
    probes = Probes(
        ({"source_tokens": np.array([5, END_ID])},), ({"attention": np.zeros(1, np.float32)},), 0.0
    )
    probes.save(folder / "1/golden.npz")
    (folder / "tokenizer.json").write_text(subwords().dump())
    attention = AttentionSpec(
        output="attention",
        kind=kind,
        axes=("step", "source_token"),
        normalized_over="source_token" if kind == "alignment" else None,
    )
    signature = Signature(inputs=(SOURCE,), outputs=(spec("attention", "FP32", 1),), attention=attention)
    roles = dict.fromkeys(("model", "encoder", "step"), "graph.onnx")
    roles |= dict.fromkeys(("golden", "encoder_golden", "step_golden"), "golden.npz")
    manifest = {
        "name": folder.name,
        "task": "translate",
        "family": "copying",
        "description": "Says what it reads.",
        "selector": {"source": "en", "target": target},
        "default": default,
        "graphs": roles,
        "signature": signature.model_dump(mode="json"),
        "stages": {"encoder": ENCODER.model_dump(mode="json"), "step": STEP.model_dump(mode="json")},
        "limits": {"max_pieces": MOST_PIECES},
        "tokenizer": "tokenizer.json",
        "languages": ["en", target],
        "files": hashes(folder),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def copying_bundle(folder, **options):
    """Return such a bundle, opened."""
    return Bundle.open(write_copying_bundle(folder, **options), 1)


def stages_of(bundle, options):
    """Return sessions of both stages (in place of ``open_stages``)."""
    weight = 1.0 if bundle.manifest.signature.attention.kind == "alignment" else 0.5
    return StageSessions(StageSession(partial(step, weight=weight)), StageSession(encode))


def copying_repository(folder, monkeypatch, **options):
    """Return a repository of two models that copy: with attention, the default, and with active memory."""
    write_copying_bundle(folder / "copy-attention")
    write_copying_bundle(folder / "copy-memory", "memory_activity", default=False)
    monkeypatch.setattr("server.runtime.opening.open_stages", stages_of)
    return Repository(folder, RuntimeOptions(**options), open_session=lambda *_: WholeSession())
