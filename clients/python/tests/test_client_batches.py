"""Batches: how they are sent, watched and read, by both clients and the command."""

import gc
import json
import tracemalloc

import httpx2
import pytest
from conftest import error_reply, qa_payload
from typer.testing import CliRunner

from engram import Answer, AsyncClient, Client, ConnectionFailed, ItemError, NotFound, StorageFull
from engram.batches import ResultReader
from engram.cli.app import app

REQUEST = {"story": ["Mary took the milk."], "question": "Where is the milk?"}


class BatchServer:
    """Keeps one batch. ``steps`` are lines with a result at each look, ``breaks`` cut streams of results."""

    def __init__(self, steps=(0, 2, 3), total=3):
        self.steps = list(steps)
        self.total = total
        self.state = None
        self.requests, self.bodies, self.queue, self.breaks = [], [], [], []

    def __call__(self, request):
        self.bodies.append(request.read())
        return self.answer(request)

    async def asynchronous(self, request):
        self.bodies.append(await request.aread())
        return self.answer(request)

    def answer(self, request):
        self.requests.append(request)
        if self.queue:
            reply = self.queue.pop(0)
            if isinstance(reply, Exception):
                raise reply
            return reply
        path = request.url.path
        if path == "/v1/batches":
            body = self.status() if request.method == "POST" else {"batches": [self.status()]}
            return httpx2.Response(202 if request.method == "POST" else 200, json=body)
        if path.endswith("/results"):
            return self.results(int(request.url.params["offset"]))
        if request.method == "DELETE":
            self.state = "cancelled"
        elif len(self.steps) > 1:
            self.steps.pop(0)
        return httpx2.Response(200, json=self.status())

    def status(self):
        done = self.steps[0]
        state = self.state or ("done" if done == self.total else "running")
        counts = {"total": self.total, "done": done, "failed": 0, "invalid": 0, "eta_s": 1.5, "reason": None}
        return {"id": "b1", "task": "qa", "state": state, "created_at": "2026-11-21T20:00:00Z", **counts}

    def results(self, offset):
        text = "".join(json.dumps(self.line(index)) + "\n" for index in range(offset, self.steps[0]))
        if self.breaks:
            return httpx2.Response(200, stream=Broken(text.encode()[: self.breaks.pop(0)]))
        return httpx2.Response(200, content=text.encode())

    def line(self, index):
        if index == 1:
            return {"id": "b", "index": 1, "error": {"code": "unknown_words", "message": "no", "details": {}}}
        return {"id": index, "index": index, "result": qa_payload(answer=f"answer {index}")}


class Broken(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    def __init__(self, text):
        self.text = text

    def __iter__(self):
        yield self.text
        raise httpx2.ReadError("gone")

    async def __aiter__(self):
        yield self.text
        raise httpx2.ReadError("gone")


@pytest.fixture
def batch_server():
    return BatchServer()


@pytest.fixture
def client(batch_server, time):
    transport = httpx2.MockTransport(batch_server)
    with Client(transport=transport, sleep=time.sleep, clock=time.clock) as client:
        yield client


@pytest.fixture
async def async_client(batch_server, time):
    transport = httpx2.MockTransport(batch_server.asynchronous)
    async with AsyncClient(transport=transport, sleep=time.sleep_async, clock=time.clock) as client:
        yield client


@pytest.fixture
def run(batch_server, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)

    def invoke(*arguments, stdin=None):
        transport = httpx2.MockTransport(batch_server)
        return CliRunner().invoke(app, ["batch", *arguments], obj=transport, input=stdin)

    return invoke


def test_requests_are_sent_as_lines_with_their_places(client, batch_server):
    batch = client.batches.submit("qa", [REQUEST, {**REQUEST, "id": "mine"}])
    assert (batch.id, batch.state, batch.is_open) == ("b1", "running", True)
    [request], [body] = batch_server.requests, batch_server.bodies
    assert request.url.params["task"] == "qa"
    assert request.headers["content-type"] == "application/x-ndjson"
    assert request.headers["host"] == "127.0.0.1:8000"
    assert [json.loads(line)["id"] for line in body.splitlines()] == [0, "mine"]


def test_a_file_is_sent_as_it_stands(client, batch_server, tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_bytes(b'{"id": 1}\n{"id": 2}')
    client.batches.submit("qa", path, idempotency_key="mine")
    [request] = batch_server.requests
    assert batch_server.bodies == [path.read_bytes()]
    assert request.headers["content-length"] == "19"
    assert request.headers["idempotency-key"] == "mine"


def test_a_submission_is_repeated_under_the_same_key(client, batch_server):
    batch_server.queue = [httpx2.ReadError("gone"), error_reply(503, "shutting_down")]
    client.batches.submit("qa", [REQUEST])
    keys = {request.headers["idempotency-key"] for request in batch_server.requests}
    assert len(batch_server.requests) == 3
    assert len(keys) == 1
    assert len(set(batch_server.bodies)) == 1


def test_what_can_be_read_only_once_is_sent_only_once(client, batch_server):
    batch_server.queue = [error_reply(503, "shutting_down")]
    with pytest.raises(Exception, match="no"):
        client.batches.submit("qa", iter([REQUEST]))
    assert len(batch_server.requests) == 1


def test_results_come_in_order_until_the_batch_has_ended(client, batch_server, time):
    found = list(client.batches.results("b1"))
    assert [result.index for result in found] == [0, 1, 2]
    assert [type(result.answer or result.error) for result in found] == [Answer, ItemError, Answer]
    assert (found[1].id, found[1].error.code) == ("b", "unknown_words")
    asked = [
        request.url.params["offset"] for request in batch_server.requests if "results" in str(request.url)
    ]
    assert asked == ["0", "2"]
    assert time.slept == [1.0]


def test_an_answer_of_an_unknown_task_is_its_payload():
    [result] = ResultReader("sing", 0).feed(b'{"id": 1, "index": 0, "result": {"song": "la"}}\n')
    assert result.answer == {"song": "la"}


def test_what_is_there_can_be_taken_without_waiting(client):
    assert [result.index for result in client.batches.results("b1", wait=False)] == [0, 1]


@pytest.mark.parametrize("cut", [0, 10, 700, 1500])
def test_a_lost_connection_is_taken_up_where_it_ended(client, batch_server, cut):
    batch_server.steps = [3]
    batch_server.breaks = [cut, 0]
    assert [result.index for result in client.batches.results("b1")] == [0, 1, 2]


def test_a_server_that_stays_away_is_given_up(client, batch_server):
    batch_server.breaks = [0] * 9
    with pytest.raises(ConnectionFailed):
        list(client.batches.results("b1"))


def test_a_batch_can_be_watched_listed_and_cancelled(client):
    assert [batch.done for batch in client.batches.watch("b1")] == [2, 3]
    assert [batch.id for batch in client.batches.list(limit=5)] == ["b1"]
    assert client.batches.cancel("b1").state == "cancelled"


def test_errors_have_their_classes(client, batch_server):
    batch_server.queue = [error_reply(507, "insufficient_storage")]
    with pytest.raises(StorageFull):
        client.batches.submit("qa", [REQUEST])
    batch_server.queue = [error_reply(404, "not_found")]
    with pytest.raises(NotFound):
        list(client.batches.results("b1"))


async def test_the_asynchronous_client_does_the_same(async_client, batch_server):
    batch_server.queue = [httpx2.ReadError("gone")]
    batch = await async_client.batches.submit("qa", [REQUEST])
    batch_server.breaks = [700]
    assert [result.index async for result in async_client.batches.results(batch.id)] == [0, 1, 2]
    assert [each.state async for each in async_client.batches.watch(batch.id)] == ["done"]
    assert len(await async_client.batches.list()) == 1
    assert (await async_client.batches.get(batch.id)).total == 3
    assert (await async_client.batches.cancel(batch.id)).state == "cancelled"


def test_a_large_batch_is_never_in_memory(time):
    total, sizes = 4_000, []

    class Sink(httpx2.BaseTransport):
        def handle_request(self, request):
            sizes.append(sum(len(chunk) for chunk in request.stream))
            return httpx2.Response(202, json=BatchServer(total=total).status())

    requests = ({**REQUEST, "question": "where " * 300} for _ in range(total))
    with Client(transport=Sink()) as client:
        gc.collect()
        tracemalloc.start()
        client.batches.submit("qa", requests)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert sizes[0] > 6_000_000
    assert peak < 3_000_000


# The command


def test_the_command_submits_a_file_and_follows_it(run, batch_server, tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps(REQUEST))
    assert run("submit", str(path), "--task", "qa").stdout == "b1\n"
    followed = run("submit", str(path), "--task", "qa", "--watch")
    assert followed.exit_code == 0
    assert followed.stdout.splitlines() == ["b1", "b1 (qa): done, 3 of 3"]
    assert run("submit", str(tmp_path / "none"), "--task", "qa").exit_code == 2


def test_the_command_writes_results_and_goes_on_where_a_file_ends(run, batch_server, tmp_path):
    path = tmp_path / "answers.jsonl"
    first = json.dumps(batch_server.line(0)).encode() + b"\n"
    path.write_bytes(first + b'{"half a li')
    result = run("results", "b1", "--output", str(path), "--resume")
    assert result.exit_code == 0
    assert "1 lines have an error" in result.stderr
    lines = path.read_bytes().splitlines()
    assert [json.loads(line)["index"] for line in lines] == [0, 1, 2]
    assert len(run("results", "b1").stdout.splitlines()) == 3
    assert run("results", "b1", "--resume").exit_code == 2


def test_the_command_submits_standard_input_and_may_send_it_twice(run, batch_server):
    batch_server.queue = [httpx2.ReadError("gone")]
    assert run("submit", "-", "--task", "qa", stdin=json.dumps(REQUEST)).stdout == "b1\n"
    assert [json.loads(body) for body in batch_server.bodies] == [REQUEST, REQUEST]


def test_ctrl_c_while_watching_says_how_to_come_back(run, batch_server, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(batch_server, "answer", interrupt)
    result = run("watch", "b1")
    assert result.exit_code == 130
    assert (
        result.stderr
        == "engram: the batch goes on without this command; engram batch watch b1 comes back to it\n"
    )


@pytest.mark.parametrize(
    "held", [b"my notes\n", b'{"id": 1}\n', b"half a note"], ids=["text", "json", "half"]
)
def test_a_file_that_holds_no_results_is_not_gone_on_with(run, tmp_path, held):
    path = tmp_path / "notes.txt"
    path.write_bytes(held)
    result = run("results", "b1", "--output", str(path), "--resume")
    assert (result.exit_code, path.read_bytes()) == (2, held)
    assert "holds no results" in result.stderr


def test_results_of_a_batch_there_is_not_leave_the_file_alone(run, batch_server, tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"dear\n")
    batch_server.queue = [error_reply(404, "not_found", "there is no such batch")]
    assert run("results", "b2", "--output", str(path)).exit_code == 1
    assert path.read_bytes() == b"dear\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["results", "b1", "--output", "{folder}"], "cannot write"),
        (["results", "b1", "--output", "{folder}/no/a.jsonl"], "cannot write"),
        (["submit", "{folder}", "--task", "qa"], "is no file"),
        (["submit", "{folder}/none", "--task", "qa"], "there is no file"),
    ],
    ids=["output_is_a_folder", "output_without_a_folder", "submit_a_folder", "submit_nothing"],
)
def test_files_that_cannot_be_used_are_told_in_one_line(run, tmp_path, arguments, line):
    result = run(*(argument.format(folder=tmp_path) for argument in arguments))
    assert result.exit_code == 2
    assert line in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_id_is_whole_however_narrow_the_terminal(run, batch_server, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    name = 8 * "abcd"
    batch_server.queue = [httpx2.Response(200, json={"batches": [{**batch_server.status(), "id": name}]})]
    assert name in run("list").stdout


def test_the_command_lists_and_cancels(run, batch_server):
    shown = run("list").stdout
    assert "b1" in shown
    assert "0 of 3" in shown
    assert json.loads(run("list", "--json").stdout)[0]["id"] == "b1"
    assert run("cancel", "b1").stdout.startswith("b1 (qa): cancelled")
    assert run("watch", "b1").exit_code == 1  # it did not end as it should
