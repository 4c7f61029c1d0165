"""Runs the cases: against one server, or against two at once, over HTTP or gRPC."""

import itertools
import json
import random
from contextlib import closing
from dataclasses import dataclass, field

from tests.conformance.cases import Model, Round
from tests.conformance.comparison import difference, divergences, grpc_difference, is_explained
from tests.conformance.grpc_cases import GrpcJudge, GrpcRound, GrpcServer
from tests.conformance.rules import Judge
from tests.conformance.wire import Request, Server


@dataclass
class Findings:
    """What a run found: how many requests of which kinds, and what is wrong or different, by kind."""

    requests: int = 0
    kinds: set = field(default_factory=set)
    problems: list = field(default_factory=list)
    unexplained: list = field(default_factory=list)
    explained: list = field(default_factory=list)

    def count(self, case):
        self.requests += 1
        self.kinds.add(case.kind)

    def differ(self, found, table):
        if found is not None:
            (self.explained if is_explained(found, table) else self.unexplained).append(found)


@dataclass(frozen=True)
class Wire:
    """One of the two ways to reach a server."""

    server: type
    round: type
    judge: type
    difference: object
    payload: str


HTTP = Wire(Server, Round, Judge, difference, "request")
GRPC = Wire(GrpcServer, GrpcRound, GrpcJudge, grpc_difference, "message")


def describe(url, name, integers=(2, 10), largest=5, words=("a",)):
    """Ask the server for a model's metadata."""
    with closing(Server(url)) as server:
        reply = server.send(Request("GET", f"/v2/models/{name}"))
    if reply.status != 200:
        raise SystemExit(f"{url} has no model {name}: {reply.body.decode(errors='replace')}")
    about = json.loads(reply.body)
    version = about.get("versions", ["1"])[0]
    return Model(name, version, about["inputs"], about["outputs"], tuple(integers), largest, tuple(words))


def check(wire, address, model, *, seed, count):
    """Send at least ``count`` requests and judge every reply."""
    judge, findings = wire.judge(model), Findings()
    with closing(wire.server(address)) as server:
        for case in generate(wire, model, seed, count):
            reply = server.send(getattr(case, wire.payload))
            findings.count(case)
            findings.problems += [(case.kind, problem) for problem in judge.problems(case, reply)]
    return findings


def compare(wire, ours, theirs, model, *, seed, count, table):
    """Send at least ``count`` requests to both servers and compare the replies."""
    rows, findings = divergences(table.read_text()), Findings()
    with closing(wire.server(ours)) as left, closing(wire.server(theirs)) as right:
        for case in generate(wire, model, seed, count):
            replies = [server.send(getattr(case, wire.payload)) for server in (left, right)]
            findings.count(case)
            findings.differ(wire.difference(case, *replies), rows)
    return findings


def generate(wire, model, seed, count):
    """Return at least ``count`` cases: whole rounds, each with tensors of its own."""
    dice, cases = random.Random(seed), []
    for number in itertools.count():
        if len(cases) >= count:
            return cases
        cases += wire.round(model, dice, number).cases()
    return cases
