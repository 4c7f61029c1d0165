"""Our own server against the rules, and against a real Triton server."""

import pytest

from server.contract.text import Vocabulary
from tests.conformance.comparison import TABLE, divergences
from tests.conformance.runner import GRPC, HTTP, check, compare, describe, generate
from tests.conformance.triton import ROOT, running_triton
from tests.server.open_inference.clients import running

BUNDLE = ROOT / "tests" / "data" / "model_repository" / "dmn-plus-tiny"


@pytest.fixture(scope="module")
def engram():
    with running(BUNDLE.parent) as address:
        yield {HTTP: f"http://{address.http}", GRPC: address.grpc}


@pytest.fixture(scope="module")
def model(engram):
    return describe(engram[HTTP], BUNDLE.name)


WIRES = pytest.mark.parametrize("wire", [HTTP, GRPC], ids=["http", "grpc"])


@WIRES
def test_the_server_keeps_every_rule(wire, engram, model):
    found = check(wire, engram[wire], model, seed=1, count=200)
    assert found.requests >= 200
    assert found.problems == []


def test_words_keep_every_rule_too(engram):
    words = Vocabulary.load(BUNDLE / "tokenizer.json").words
    model = describe(engram[HTTP], f"{BUNDLE.name}.text", words=words[:9])
    found = check(HTTP, engram[HTTP], model, seed=2, count=60)
    assert found.problems == []


@WIRES
def test_the_same_seed_makes_the_same_requests(wire, model):
    first, second = ([case.kind for case in generate(wire, model, 5, 100)] for _ in range(2))
    assert first == second


def test_every_divergence_is_about_a_case(model):
    kinds = {case.kind for wire in (HTTP, GRPC) for case in generate(wire, model, 0, 1)}
    assert set(divergences(TABLE.read_text())) <= kinds


@pytest.mark.slow
def test_every_difference_from_triton_is_chosen(engram, model, tmp_path):
    seen = set()
    with running_triton(BUNDLE, tmp_path) as (http, grpc):
        for wire, other in ((HTTP, http), (GRPC, grpc)):
            found = compare(wire, engram[wire], other, model, seed=0, count=300, table=TABLE)
            assert found.requests >= 300
            assert found.unexplained == []
            seen |= {difference.kind for difference in found.explained}
    assert seen == set(divergences(TABLE.read_text()))
