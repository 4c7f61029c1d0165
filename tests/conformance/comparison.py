"""Two servers side by side: where their replies differ, and which differences a table explains."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.cases import ANSWERED, TOLD
from tests.conformance.grpc_cases import arrays_of
from tests.conformance.rules import same
from tests.conformance.wire import outputs_of

HEAD = ("case", "---")
TABLE = Path(__file__).parents[2] / "docs" / "divergences.md"


@dataclass(frozen=True)
class Difference:
    """A kind of case that two servers answer differently, by what each did."""

    kind: str
    ours: str
    theirs: str

    def __str__(self):
        return f"{self.kind}: {self.ours} against {self.theirs}"


def divergences(text):
    """Return the rows of the table: ``| kind | ours | theirs | why |``, statuses separated by commas."""
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \| ([^|]+?) \| ([^|]+?) \|$", text, flags=re.M)
    return {kind: (_set(ours), _set(theirs)) for kind, ours, theirs, _ in rows if kind not in HEAD}


def difference(case, ours, theirs):
    """Return how two replies to one case differ, or None."""
    if ours.status != theirs.status:
        return Difference(case.kind, str(ours.status), str(theirs.status))
    if case.outcome == TOLD and _told(case.kind, ours) != _told(case.kind, theirs):
        return Difference(case.kind, "other words", "other words")
    if ours.status != 200 or case.outcome != ANSWERED:
        return None
    try:
        (_, left), (_, right) = outputs_of(ours), outputs_of(theirs)
    except (ValueError, KeyError, TypeError) as error:
        return Difference(case.kind, "200", f"unreadable: {error!r}")
    if left.keys() != right.keys() or not all(same(left[name], right[name]) for name in left):
        return Difference(case.kind, "other values", "other values")
    return None


def grpc_difference(case, ours, theirs):
    """Return how two replies to one case over gRPC differ, or None."""
    if ours.code != theirs.code:
        return Difference(case.kind, ours.code, theirs.code)
    if ours.answer is None:
        return None
    left, right = arrays_of(ours.answer), arrays_of(theirs.answer)
    if left.keys() != right.keys() or not all(same(left[name], right[name]) for name in left):
        return Difference(case.kind, "other values", "other values")
    return None


def is_explained(found, table):
    """Say whether the table has this difference."""
    ours, theirs = table.get(found.kind, ((), ()))
    return found.ours in ours and found.theirs in theirs


def _told(kind, reply):
    """Return what two servers of one model must agree on: names, datatypes and shapes."""
    if kind.startswith("model metadata"):
        told = json.loads(reply.body)
        return {key: told[key] for key in ("name", "versions", "inputs", "outputs")}
    if kind == "model configuration":
        told = json.loads(reply.body)
        ports = [
            {key: port[key] for key in ("name", "data_type", "dims")}
            for port in told["input"] + told["output"]
        ]
        return told["name"], told["max_batch_size"], ports
    return None


def _set(cell):
    return {word.strip() for word in cell.split(",")}
