"""Ten thousand and more requests that nobody should send: every one is answered, and the server stays sound.

``FUZZ_SEED`` picks other requests; a failure names them.
"""

import json
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice

import grpc
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from server.contract.text import Vocabulary
from tests.conformance.rules import LEAK
from tests.conformance.runner import describe
from tests.fuzz import batches, grpc_calls, inferences, raw_http
from tests.fuzz.rules import BATCH_STATUSES, INSIDE, grpc_problems, problems
from tests.fuzz.schemas import Schemas
from tests.fuzz.target import ANSWER, FOLDER, NAME, QUESTION
from tests.fuzz.wire import BOUND_S, Connection

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("FUZZ_SEED", "1"))
SCHEMA, INFERENCES, RAW, CALLS, BATCHES = 6_000, 8_000, 2_000, 6_000, 1_500
AT_ONCE = 12
WORDS = Vocabulary.load(FOLDER / NAME / "tokenizer.json").words


@pytest.fixture(scope="module")
def models(target):
    url = f"http://127.0.0.1:{target.port}"
    return [describe(url, NAME), describe(url, f"{NAME}.text", words=WORDS[2:9])]


@pytest.fixture(scope="module")
def schemas(target):
    with closing(Connection(target.port)) as connection:
        document = json.loads(connection.send("GET", "/openapi.json").body)
    return Schemas(document, [*QUESTION["story"], QUESTION["question"], NAME, f"{NAME}:1", *WORDS[2:6]])


def test_requests_from_the_schema_and_near_it_are_answered(target, schemas):
    statuses = Counter()

    with closing(Connection(target.port)) as connection:

        @seed(SEED)
        @settings(
            max_examples=SCHEMA,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(schemas.requests())
        def ask(request):
            reply = connection.send(*request)
            statuses[reply.status] += 1
            assert problems(request[1], reply, request[0]) == [], reply

        ask()
    assert sum(statuses.values()) >= SCHEMA
    assert statuses[200] > SCHEMA / 10, statuses
    assert target.wounds() == []


def test_spoilt_inferences_are_answered(target, models):
    statuses, found = Counter(), []
    with closing(Connection(target.port)) as connection:
        for request in islice(inferences.requests(models, SEED), INFERENCES):
            reply = connection.send(request.method, request.path, request.headers, request.body)
            statuses[reply.status] += 1
            found += [(problem, request, reply) for problem in problems(request.path, reply, request.method)]
    assert found == []
    assert statuses[200] > INFERENCES / 10, statuses
    assert target.wounds() == []


def test_bytes_that_are_hardly_http_are_answered_or_refused(target):
    def attempt(each):
        return each, raw_http.send(target.port, each)

    found = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for each, replies in pool.map(attempt, islice(raw_http.attempts(SEED), RAW)):
            found += [(problem, each) for reply in replies for problem in problems(each.path, reply)]
            if not (replies or each.half or each.leaves or not each.parts):
                found.append(("there is no reply", each))
    assert found == []
    assert target.wounds() == []


def test_spoilt_calls_over_grpc_are_answered(target, models):
    codes, found = Counter(), []
    with grpc.insecure_channel(f"127.0.0.1:{target.grpc_port}") as channel:
        for call in islice(grpc_calls.calls(models, SEED), CALLS):
            method = channel.unary_unary(f"/inference.GRPCInferenceService/{call.method}")
            try:
                method(call.data, timeout=BOUND_S)
                code, reason = grpc.StatusCode.OK, ""
            except grpc.RpcError as error:
                code, reason = error.code(), error.details()
            codes[code] += 1
            found += [(problem, call) for problem in grpc_problems(code, reason)]
    assert found == []
    assert codes[grpc.StatusCode.OK] > CALLS / 10, codes
    assert target.wounds() == []


def test_spoilt_batches_are_answered_line_for_line(target):
    statuses, found, known = Counter(), [], []
    with closing(Connection(target.port)) as connection:

        def ask(request):
            reply = connection.send(request.method, request.path, request.headers, request.body)
            statuses[reply.status] += 1
            found.extend(
                (each, request, reply)
                for each in problems(request.path, reply, request.method, BATCH_STATUSES)
            )
            return reply

        visits = batches.visits(known, SEED)
        for request in islice(batches.submissions(QUESTION, SEED), BATCHES):
            reply = ask(request)
            if reply.status == 202:
                known.append(json.loads(reply.body)["id"])
            ask(next(visits))
        assert found == []
        assert len(set(known)) > BATCHES / 10, statuses
        right = 0
        for name in set(known):
            ended = _ended(connection, name)
            lines = batches.results(connection.send("GET", f"/v1/batches/{name}/results").body)
            errors = [line["error"]["message"] for line in lines if "error" in line]
            right += sum(line["result"]["answer"] == ANSWER for line in lines if "result" in line)
            assert len(lines) == ended["total"] == ended["done"] + ended["failed"], ended
            assert len(errors) == ended["failed"], lines
            assert [line["index"] for line in lines] == list(range(ended["total"])), lines
            assert not any(LEAK.search(error) or INSIDE.search(error) for error in errors), errors
    assert right > BATCHES / 10, right
    assert target.wounds() == []


def _ended(connection, name):
    """Wait for a batch's end and return its state."""
    end = time.monotonic() + 60
    while (status := json.loads(connection.send("GET", f"/v1/batches/{name}").body))["ended_at"] is None:
        assert time.monotonic() < end, status
        time.sleep(0.05)
    return status
