"""A fake server behind a mock transport: it records what it is asked and answers as the contract says."""

import json
from collections.abc import Callable

import httpx2
import pytest

STORY = ["Mary went to the kitchen.", "John took the milk.", "John went to the garden."]
WEIGHTS = [[0.01, 0.97, 0.02], [0.0, 0.125, 0.875], [0.0, 0.5, 0.5]]


def qa_payload(**changes):
    payload = {
        "answer": "garden",
        "score": 0.998,
        "alternatives": [{"answer": "garden", "score": 0.998}, {"answer": "kitchen", "score": 0.001}],
        "hops": [
            {"answer": "kitchen", "score": 0.61},
            {"answer": "garden", "score": 0.97},
            {"answer": "garden", "score": 0.998},
        ],
        "evidence": [
            {"index": 1, "text": "John took the milk.", "weight": 0.97},
            {"index": 2, "text": "John went to the garden.", "weight": 0.875},
            {"index": 0, "text": "Mary went to the kitchen.", "weight": 0.01},
        ],
        "attention": {
            "kind": "episodic_gate",
            "normalized_over": "fact",
            "axes": [{"name": "hop", "labels": ["1", "2", "3"]}, {"name": "fact", "labels": STORY}],
            "weights": WEIGHTS,
            "offset": 0,
        },
        "warnings": [],
        "model": {"name": "dmn-plus-babi", "version": "1"},
        "timing_ms": {"queue": 0.1, "compute": 2.8, "total": 3.2},
        "batch_size": 1,
        "mood": "a field of a newer server",
    }
    return {**payload, **changes}


def error_reply(status, code, message="no", headers=None, **details):
    envelope = {"code": code, "message": message, "details": details, "request_id": "r-1"}
    return httpx2.Response(
        status, json={"error": envelope}, headers={"X-Request-Id": "r-1", **(headers or {})}
    )


MODEL = {
    "name": "dmn-plus-babi",
    "task": "qa",
    "family": "dmn_plus",
    "versions": ["1"],
    "state": "ready",
    "runtime": "onnx",
    "device": "cpu",
    "limits": {"max_facts": 256, "max_words": 16},
    "metrics": {"mean_error": 0.02},
    "parity": {"largest": 1e-6},
}


PAYLOADS = {
    "/v1/qa": qa_payload(),
    "/v1/models": {"models": [MODEL]},
    "/v1/models/dmn-plus-babi": MODEL,
    "/v1/models/dmn-plus-babi/vocabulary": {"words": ["garden", "milk", "where"]},
    "/health/live": {"status": "live"},
    "/health/ready": {"status": "ready"},
}


class FakeServer:
    """Handler of a mock transport. What is in ``queue``, replies or exceptions, comes first."""

    def __init__(self):
        self.requests: list[httpx2.Request] = []
        self.queue: list[httpx2.Response | Exception | Callable] = []

    def __call__(self, request):
        self.requests.append(request)
        if self.queue:
            reply = self.queue.pop(0)
            if isinstance(reply, Exception):
                raise reply
            return reply(request) if callable(reply) else reply
        return self.usual(request)

    def usual(self, request):
        if request.headers["Accept"].startswith("image/"):
            return httpx2.Response(
                200, content=b"<picture/>", headers={"Content-Type": request.headers["Accept"]}
            )
        if request.url.path == "/v1/qa/batch":
            payload = {"results": [self.item(item) for item in json.loads(request.content)["requests"]]}
        else:
            payload = PAYLOADS.get(request.url.path)
        if payload is None:
            return error_reply(404, "not_found", "nothing lives at this path")
        return httpx2.Response(200, json=payload, headers={"X-Request-Id": request.headers["X-Request-Id"]})

    @staticmethod
    def item(item):
        if "milkk" in item["question"]:
            words = [{"word": "milkk", "nearest": ["milk", "silk"]}]
            return {
                "error": {"code": "unknown_words", "message": "unknown words", "details": {"words": words}}
            }
        return qa_payload(answer=item["question"])

    @property
    def bodies(self):
        return [json.loads(request.content) for request in self.requests]


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds):
        self.sleep(seconds)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in ("ENGRAM_URL", "ENGRAM_API_KEY", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def server():
    return FakeServer()


@pytest.fixture
def time():
    return FakeTime()
