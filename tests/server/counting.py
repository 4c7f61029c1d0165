"""A stepwise task whose answers are plain arithmetic, with its graphs as sessions and as a bundle on disk.

A request counts along from its numbers: every step adds digits to a total, scores ten further digits by it,
and the search keeps the best hypotheses. Padding would change every sum and product if it reached one.
"""

import json
import threading
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from server.contract.attention import Attention
from server.contract.bundle import Probes
from server.contract.manifest import AttentionSpec, Manifest, Signature, Stage, TensorSpec
from server.errors import RunError
from server.runtime.stepwise.stages import StageSessions
from server.tasks import Prepared
from tests.server.fakes import hashes

DATA = Path(__file__).parents[1] / "data"
CHOICES, MOST_DIGITS = 10, 100
LIMITS = {"max_numbers": 7, "max_digits": 5}


def spec(name, datatype, *dims, pad=0):
    return TensorSpec(name=name, datatype=datatype, dims=("batch", *dims), pad=pad)


ENCODER = Stage(
    inputs=(spec("numbers", "INT64", "numbers"),),
    outputs=(
        spec("memory", "INT64", "numbers"),
        spec("factors", "INT64", "numbers", pad=1),
        spec("total", "INT64"),
        spec("trail", "INT64", "numbers"),
    ),
)
STEP = Stage(
    inputs=(
        spec("memory", "INT64", "numbers"),
        spec("factors", "INT64", "numbers", pad=1),
        spec("total", "INT64"),
        spec("trail", "INT64", "numbers"),
        spec("digits", "INT64", "digits"),
    ),
    outputs=(
        spec("next_total", "INT64"),
        spec("next_trail", "INT64", "numbers"),
        spec("scores", "INT64", CHOICES),
        spec("places", "INT64", "numbers"),
    ),
)


def encode(numbers):
    return {
        "memory": numbers,
        "factors": numbers + 2,  # where there is padding this is not 1, which is what the step is padded with
        "total": numbers.sum(-1) % 97,
        "trail": numbers * 3,
    }


def step(memory, factors, total, trail, digits):
    added = digits.sum(-1)
    if (added >= MOST_DIGITS).any():
        raise RunError("the digits are too many")
    total = (total + added + memory.sum(-1)) % 97
    trail = trail + memory + total[:, None]
    ranks = np.arange(1, CHOICES + 1)
    return {
        "next_total": total,
        "next_trail": trail,
        "scores": (total[:, None] * ranks + factors.prod(-1)[:, None]) % 101,
        "places": trail * 2,
    }


class Token(msgspec.Struct, tag="token", frozen=True):
    digit: int
    places: list[int]


class CountRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    numbers: list[int]
    steps: Annotated[int, msgspec.Meta(ge=0)] = 3
    beam: int = 1
    first: tuple[int, ...] = (1,)
    fail_at: int = -1
    attention: str = "none"
    model: str | None = None
    timeout_ms: float | None = None


class CountAnswer(msgspec.Struct, frozen=True):
    digits: list[int]
    score: int
    places: list[int]
    attention: Attention | None = None
    warnings: list[str] = []


class CountSearch:
    """Keeps the ``beam`` best hypotheses; ``fail_at`` is the step before which it feeds what fails a run."""

    def __init__(self, request):
        self.request = request
        self.taken = 0
        self.fed = [list(request.first)]
        self.parents = [0]
        self.paths = [([], 0)]
        self.places = []

    @property
    def finished(self):
        return self.taken == self.request.steps

    def feed(self):
        fed = [[MOST_DIGITS]] * len(self.fed) if self.taken == self.request.fail_at else self.fed
        return {"digits": np.array(fed)}, self.parents

    def advance(self, outputs):
        scores = outputs["scores"] + np.array([score for _, score in self.paths])[:, None]
        best = np.argsort(-scores.ravel(), kind="stable")[: self.request.beam]
        self.parents = [int(place) // CHOICES for place in best]
        chosen = [int(place) % CHOICES for place in best]
        self.paths = [
            ([*self.paths[parent][0], digit], int(scores[parent, digit]))
            for parent, digit in zip(self.parents, chosen, strict=True)
        ]
        self.places = outputs["places"][self.parents[0]].tolist()
        self.fed = [[digit] for digit in chosen]
        self.taken += 1
        return [Token(chosen[0], self.places)]

    def answer(self):
        digits, score = self.paths[0]
        return CountAnswer(digits, score, self.places)


class Counting:
    name: ClassVar[str] = "compute"
    Request: ClassVar = CountRequest
    Answer: ClassVar = CountAnswer
    events: ClassVar = (Token,)

    def __init__(self, max_attention_weights=100_000):
        pass

    def selector(self, request):
        return {}

    def check(self, bundle):
        pass

    def prepare(self, request, bundle):
        return Prepared({"numbers": np.array(request.numbers)}, ("scores", "places"), request, request.beam)

    def begin(self, encoded, prepared, bundle):
        return CountSearch(prepared.context)


def alone(request):
    """Return the answer and the events of one request, without any of the server's machinery."""
    encoded = encode(np.array([request.numbers]))
    memory, factors = encoded.pop("memory"), encoded.pop("factors")
    state, search, events = encoded, CountSearch(request), []
    while not search.finished:
        inputs, parents = search.feed()
        rows = np.zeros(len(parents), int)
        state = {name: array[parents] for name, array in state.items()}
        outputs = step(memory[rows], factors[rows], **state, **inputs)
        state = {"total": outputs["next_total"], "trail": outputs["next_trail"]}
        events += search.advance(outputs)
    return search.answer(), events


class StageSession:
    """One stage as a session. While ``gate`` is closed runs wait; ``error`` is raised instead of running."""

    runtime = "onnx"
    device = "cpu"

    def __init__(self, function, *, error=None):
        self.function = function
        self.error = error
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Semaphore(0)
        self.shapes = []
        self.asked_for = []
        self.closed = False

    def run(self, inputs, outputs):
        first = next(iter(inputs.values()))
        self.shapes.append(first.shape)
        self.asked_for.append(list(outputs))
        self.started.release()
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        values = self.function(**inputs)
        return {name: values[name] for name in outputs}

    def close(self):
        self.closed = True


def sessions(**options):
    """Return sessions of both stages; options are those of the step's."""
    return StageSessions(StageSession(step, **options), StageSession(encode))


def _probes(stage, function, requests):
    outputs = [function(**{name: array[None] for name, array in one.items()}) for one in requests]
    return Probes(
        tuple(requests), tuple({name: array[0] for name, array in one.items()} for one in outputs), 0.0
    )


def encoder_probes():
    return _probes(ENCODER, encode, [{"numbers": np.array([2, 3])}, {"numbers": np.array([4, 1, 5])}])


def step_probes():
    encoded = [encode(np.array([numbers])) for numbers in ([2, 3], [4, 1, 5])]
    requests = [
        {**{name: array[0] for name, array in one.items()}, "digits": np.array(digits)}
        for one, digits in zip(encoded, ([6], [7, 8]), strict=True)
    ]
    return _probes(STEP, step, requests)


def write_counting_bundle(folder, **changes):
    """Write a bundle that counts; its whole graph is the encoder, which is all that ``/v2`` needs to show."""
    (folder / "1").mkdir(parents=True)
    for name in ("encoder", "step"):
        (folder / f"1/{name}.onnx").write_bytes((DATA / f"counting-{name}.onnx").read_bytes())
    encoder_probes().save(folder / "1/golden.npz")
    step_probes().save(folder / "1/step_golden.npz")
    attention = AttentionSpec(output="trail", kind="pointer", axes=("number",), normalized_over=None)
    manifest = {
        "name": folder.name,
        "task": "compute",
        "family": "counting",
        "description": "Counts along.",
        "default": True,
        "graphs": {
            "model": "encoder.onnx",
            "golden": "golden.npz",
            "encoder": "encoder.onnx",
            "encoder_golden": "golden.npz",
            "step": "step.onnx",
            "step_golden": "step_golden.npz",
        },
        "signature": Signature(
            inputs=ENCODER.inputs, outputs=ENCODER.outputs, attention=attention
        ).model_dump(mode="json"),
        "stages": {"encoder": ENCODER.model_dump(mode="json"), "step": STEP.model_dump(mode="json")},
        "limits": LIMITS,
        "files": hashes(folder),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))
    return folder


def counting_manifest(**changes):
    """Return a manifest of the task, without a bundle around it."""
    attention = AttentionSpec(output="trail", kind="pointer", axes=("number",), normalized_over=None)
    fields = {
        "name": "counting",
        "task": "compute",
        "family": "counting",
        "description": "Counts along.",
        "graphs": dict.fromkeys(("encoder", "step", "encoder_golden", "step_golden"), "a.onnx"),
        "signature": Signature(inputs=ENCODER.inputs, outputs=ENCODER.outputs, attention=attention),
        "stages": {"encoder": ENCODER, "step": STEP},
        "limits": LIMITS,
        "files": {},
    }
    return Manifest(**fields | changes)
