"""``python -m tests.conformance``: check any server of the Open Inference Protocol, or compare two.

Exits with 1 when the server breaks a rule or, with ``--against``, differs where no table explains it.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from tests.conformance.comparison import TABLE
from tests.conformance.runner import GRPC, HTTP, check, compare, describe

EXAMPLES = """\
examples:
  python -m tests.conformance --url http://localhost:8000 --grpc localhost:8001 --model tiny
  python -m tests.conformance --url http://localhost:8000 --against http://localhost:9000 --model tiny
"""


def main(arguments=None):
    """Run, print what was found, return the exit status."""
    options = _parse(arguments)
    model = describe(options.url, options.model, options.integers, options.largest, options.words)
    pairs = [(HTTP, options.url, options.against), (GRPC, options.grpc, options.grpc_against)]
    failed = False
    for wire, ours, theirs in pairs:
        if ours and theirs:
            found = compare(
                wire, ours, theirs, model, seed=options.seed, count=options.count, table=options.table
            )
        elif ours:
            found = check(wire, ours, model, seed=options.seed, count=options.count)
        else:
            continue
        _print(ours, theirs, found)
        failed |= bool(found.problems or found.unexplained)
    return int(failed)


def _print(ours, theirs, found):
    against = f" against {theirs}" if theirs else ""
    print(f"{ours}{against}: {found.requests} requests of {len(found.kinds)} kinds")
    lists = {"problem": found.problems, "explained": found.explained, "NOT EXPLAINED": found.unexplained}
    for what, entries in lists.items():
        for entry, times in sorted(Counter(entries).items(), key=str):
            text = ": ".join(entry) if isinstance(entry, tuple) else str(entry)
            print(f"  {what}, {times} times: {text}")
    counts = {what: len(entries) for what, entries in lists.items()}
    print("  in all: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


def _parse(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance",
        description="Check a server of the Open Inference Protocol, or compare two.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", required=True, help="the server, such as http://localhost:8000")
    parser.add_argument("--against", help="another server, to compare with")
    parser.add_argument("--grpc", help="the server's gRPC address, such as localhost:8001")
    parser.add_argument("--grpc-against", help="the other server's gRPC address")
    parser.add_argument("--model", required=True, help="a model both have")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=300, help="send at least this many requests")
    parser.add_argument("--integers", type=int, nargs=2, default=(2, 10), metavar=("LOW", "HIGH"))
    parser.add_argument("--largest", type=int, default=5, help="largest size of a free axis")
    parser.add_argument("--words", nargs="+", default=("a",), help="texts for BYTES inputs")
    parser.add_argument("--table", type=Path, default=TABLE, help="the differences that are explained")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
