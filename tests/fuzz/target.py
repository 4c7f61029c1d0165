"""The server under fire, and what must be true of it afterwards."""

import json
import re
import time
from contextlib import closing, suppress
from pathlib import Path

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.fuzz.wire import BOUND_S, Connection
from tests.processes import ROOT, ServerProcess
from tests.server.open_inference.clients import free_ports

FOLDER = ROOT / "tests" / "data" / "model_repository"
NAME = "dmn-plus-tiny"
QUESTION = {"story": ["Ada walked to the attic.", "Ada took the lamp."], "question": "Where is the lamp?"}
ANSWER = "attic"
GROWTH_MB = 300
"""Bodies of 8 MB, and of 32 MB once decompressed, may be there at once; the allocator keeps a part."""


class Target(ServerProcess):
    """A server with both doors, short deadlines, and every line of its log kept."""

    def __init__(self):
        self.lines_read = []
        [self.grpc_port] = free_ports(1)
        options = {"grpc-port": self.grpc_port, "timeout-ms": 5000, "header-timeout-s": 1.5}
        super().__init__(
            FOLDER, *(text for name, value in options.items() for text in (f"--{name}", str(value)))
        )
        assert self.answers() == []
        self.files = self.open_files()
        self.memory_mb = self.resident_mb()

    def _read(self):
        for line in self.process.stderr:
            if line.startswith("{"):
                self.log.append(json.loads(line))
            else:
                self.lines_read.append(line)

    def open_files(self):
        """Count what is open, but for the database of batches, which opens when it is first asked."""
        count = 0
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                count += ".sqlite3" not in entry.readlink().name
        return count

    def resident_mb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024

    def answers(self):
        """Return what is wrong with the answers to a good question, by every door."""
        found = []
        with closing(Connection(self.port)) as connection:
            for path, asked, expected in (
                ("/v1/qa", QUESTION, f'"answer":"{ANSWER}"'),
                (f"/v2/models/{NAME}.text/infer", {"inputs": list(_tensors())}, f'"{ANSWER}"'),
            ):
                reply = connection.send("POST", path, body=json.dumps(asked).encode())
                if reply.status != 200 or expected not in reply.body.decode():
                    found.append(f"{path} answers {reply.status} {reply.body[:200]!r}")
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            message = pb.ModelInferRequest(model_name=f"{NAME}.text")
            for tensor in _tensors():
                entry = message.inputs.add(**{key: tensor[key] for key in ("name", "datatype", "shape")})
                entry.contents.bytes_contents.extend(text.encode() for text in tensor["data"])
            answer = stub.ModelInfer(message, timeout=BOUND_S)
            if ANSWER.encode() not in b"".join(answer.raw_output_contents):
                found.append(f"gRPC answers {answer}")
        return found

    def wounds(self):
        """Return what is not as it was before the first request."""
        found = self.answers()
        if lines := self.lines_read[:10]:
            found.append(f"the log has lines that are no JSON: {lines}")
        if bad := [line for line in self.log if "Traceback" in str(line)]:
            found.append(f"the log has {len(bad)} tracebacks: {bad[:3]}")
        end = time.monotonic() + BOUND_S
        while self.open_files() > self.files and time.monotonic() < end:
            time.sleep(0.1)
        if (files := self.open_files()) > self.files:
            found.append(f"{files - self.files} connections are left behind")
        with closing(Connection(self.port)) as connection:
            metrics = connection.send("GET", "/metrics").body.decode()
        pending = re.findall(r"^nv_inference_pending_request_count\S* (\S+)$", metrics, re.MULTILINE)
        if not pending or any(float(count) for count in pending):
            found.append(f"requests are left in a queue: {pending}")
        if (growth := self.resident_mb() - self.memory_mb) > GROWTH_MB:
            found.append(f"the server holds {growth:.0f} MB more than before")
        return found


def _tensors():
    story, question = QUESTION["story"], [QUESTION["question"]]
    yield {"name": "story", "datatype": "BYTES", "shape": [1, len(story)], "data": story}
    yield {"name": "question", "datatype": "BYTES", "shape": [1, 1], "data": question}
