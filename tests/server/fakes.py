"""A session whose answer is simple arithmetic, and a tiny bundle that says so."""

import asyncio
import hashlib
import json
import threading
import time
from pathlib import Path

import numpy as np

from server.contract.bundle import Probes
from server.contract.manifest import AttentionSpec, Signature, TensorSpec
from server.contract.text import Vocabulary

ANSWERS = ("garden", "kitchen", "office", "hall", "cellar")
HOPS = 3
WORDS = [
    "anna",
    "ben",
    "took",
    "dropped",
    "went",
    "moved",
    "is",
    "in",
    "to",
    "the",
    "a",
    "lamp",
    "box",
    "milk",
]
WORDS += [*ANSWERS, "where", "what", "who"]
LIMITS = {"max_facts": 7, "max_words": 6, "max_question_words": 5}
SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="story_tokens", datatype="INT64", dims=("batch", "facts", "words")),
        TensorSpec(name="question_tokens", datatype="INT64", dims=("batch", "question_words")),
    ),
    outputs=(
        TensorSpec(name="answer_probabilities", datatype="FP32", dims=("batch", len(ANSWERS))),
        TensorSpec(name="hop_probabilities", datatype="FP32", dims=("batch", HOPS, len(ANSWERS))),
        TensorSpec(name="attention", datatype="FP32", dims=("batch", HOPS, "facts")),
    ),
    attention=AttentionSpec(
        output="attention", kind="episodic_gate", axes=("hop", "fact"), normalized_over="fact"
    ),
)
GRAPH = Path(__file__).parents[1] / "data" / "arithmetic.onnx"


def arithmetic(story_tokens, question_tokens):
    """Answer a batch by sums that padding does not change.

    Hop k looks at a fact in proportion to the sum of its ids raised to k + 1. The question's sum turns the
    ranks 1 to 5 of the answers by one place more with each hop, and the last hop gives the answer.
    """
    facts_BF = story_tokens.sum(-1).astype(np.float32)
    powers_K = np.arange(1, HOPS + 1, dtype=np.float32)
    raised_BKF = facts_BF[:, None, :] ** powers_K[None, :, None]
    shifts_KA = np.arange(HOPS)[:, None] + np.arange(len(ANSWERS))
    ranks_BKA = (question_tokens.sum(-1)[:, None, None] + shifts_KA) % len(ANSWERS) + 1
    hops_BKA = (ranks_BKA / np.float32(15)).astype(np.float32)
    return {
        "answer_probabilities": hops_BKA[:, -1],
        "hop_probabilities": hops_BKA,
        "attention": raised_BKF / raised_BKF.sum(-1, keepdims=True),
    }


class FakeSession:
    """Runs ``arithmetic``. While ``gate`` is closed runs wait; ``poison`` is a token id that fails a run."""

    runtime = "onnx"
    device = "cpu"

    def __init__(self, *, poison=None, error=None):
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Semaphore(0)
        self.poison = poison
        self.error = error or RuntimeError("poison")
        self.batches = []
        self.shapes = []
        self.asked = []
        self.closed = False

    def run(self, inputs, outputs):
        self.batches.append(len(inputs["story_tokens"]))
        self.shapes.append(inputs["story_tokens"].shape)
        self.asked.append([*outputs])
        self.started.release()
        assert self.gate.wait(10)
        if self.poison is not None and (inputs["story_tokens"] == self.poison).any():
            raise self.error
        values = arithmetic(**inputs)
        return {name: values[name] for name in outputs}

    async def has_started(self):
        """Wait for the next run to start."""
        assert await asyncio.to_thread(self.started.acquire, timeout=10)

    def close(self):
        self.closed = True


async def until(holds, seconds=10):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def probes():
    """Golden probes of two sizes, made by ``arithmetic``."""
    inputs = [
        {"story_tokens": np.array([[2, 6, 8]]), "question_tokens": np.array([22])},
        {"story_tokens": np.arange(2, 22).reshape(5, 4), "question_tokens": np.array([21, 8, 2])},
    ]
    batches = [arithmetic(**{name: array[None] for name, array in probe.items()}) for probe in inputs]
    outputs = [{name: array[0] for name, array in batch.items()} for batch in batches]
    return Probes(tuple(inputs), tuple(outputs), 1e-6)


def write_bundle(folder, *, version=1, **changes):
    """Write a bundle that answers by ``arithmetic``, with ``changes`` made to its manifest."""
    (folder / str(version)).mkdir(parents=True)
    Vocabulary.from_words(WORDS).save(folder / "tokenizer.json")
    (folder / f"{version}/model.onnx").write_bytes(GRAPH.read_bytes())
    (folder / f"{version}/parity.json").write_text('{"cases": 2}')
    probes().save(folder / f"{version}/golden.npz")
    manifest = {
        "name": folder.name,
        "task": "qa",
        "family": "arithmetic",
        "description": "Answers by arithmetic.",
        "default": True,
        "graphs": {"model": "model.onnx", "golden": "golden.npz", "parity": "parity.json"},
        "signature": SIGNATURE.model_dump(mode="json"),
        "limits": LIMITS,
        "tokenizer": "tokenizer.json",
        "answers": ANSWERS,
        "files": hashes(folder),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))
    return folder


def hashes(folder):
    """Hash every file of a bundle but its manifest."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def rewrite(folder, **changes):
    """Change a bundle's manifest; its hashes are made anew unless they are among the changes."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": hashes(folder)} | changes))
