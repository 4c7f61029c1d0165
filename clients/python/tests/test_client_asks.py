import inspect
import threading

import httpx2
import numpy as np
import pytest
from conftest import STORY, error_reply, qa_payload

import engram


@pytest.fixture
def client(server):
    with engram.Client(transport=httpx2.MockTransport(server)) as client:
        yield client


def test_a_question_is_posted_with_its_story_and_only_the_options_given(client, server):
    client.ask(tuple(STORY), "Where is the milk?", truncate="oldest")
    request = server.requests[0]
    assert (request.method, str(request.url)) == ("POST", "http://127.0.0.1:8000/v1/qa")
    assert request.headers["content-type"] == "application/json"
    assert server.bodies == [{"story": STORY, "question": "Where is the milk?", "truncate": "oldest"}]


def test_a_story_may_be_one_text(client, server):
    client.ask("John took the milk. He left.", "Who left?")
    assert server.bodies[0]["story"] == "John took the milk. He left."


def test_an_option_of_none_is_left_to_the_server(client, server):
    client.ask(STORY, "Where?", model=None)
    assert "model" not in server.bodies[0]


def test_a_misspelt_option_is_refused_before_anything_is_sent(client, server):
    with pytest.raises(TypeError, match="unknown option 'modle'"):
        client.ask(STORY, "Where?", modle="x")
    assert server.requests == []


def test_an_answer_has_typed_fields_and_keeps_unknown_ones(client):
    answer = client.ask(STORY, "Where is the milk?")
    assert (answer.answer, answer.score) == ("garden", 0.998)
    assert answer.alternatives[1] == engram.ScoredAnswer("kitchen", 0.001)
    assert [hop.answer for hop in answer.hops] == ["kitchen", "garden", "garden"]
    assert answer.evidence[0] == engram.Evidence(1, "John took the milk.", 0.97)
    assert str(answer.model) == "dmn-plus-babi:1"
    assert answer.timing_ms == engram.Timing(0.1, 2.8, 3.2)
    assert answer.raw["mood"] == "a field of a newer server"


def test_an_answer_carries_the_request_id_it_was_asked_with(client, server):
    answer = client.ask(STORY, "Where is the milk?")
    assert answer.request_id == server.requests[0].headers["X-Request-Id"]


def test_an_answer_prints_with_its_evidence(client):
    printed = str(client.ask(STORY, "Where is the milk?"))
    assert printed.splitlines()[:2] == ["garden (0.998)", "  0.970  2. John took the milk."]


def test_a_missing_optional_field_takes_its_default(client, server):
    server.queue.append(httpx2.Response(200, json={"answer": "garden", "score": 1.0}))
    answer = client.ask(STORY, "Where?", attention="none")
    assert answer.attention is None
    assert (answer.alternatives, answer.warnings, answer.model, answer.timing_ms) == ((), (), None, None)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(httpx2.Response(200, text="<html>welcome</html>"), id="not_json"),
        pytest.param(httpx2.Response(200, json={"hello": 1}), id="other_json"),
        pytest.param(httpx2.Response(200, json=["garden"]), id="a_list"),
        pytest.param(httpx2.Response(200, content=b"\xff"), id="not_text"),
        pytest.param(
            httpx2.Response(200, stream=httpx2.ByteStream(b"no gzip"), headers={"Content-Encoding": "gzip"}),
            id="broken_gzip",
        ),
    ],
)
def test_what_no_engram_server_sends_is_an_unexpected_response(client, server, reply):
    server.queue.append(reply)
    with pytest.raises(engram.UnexpectedResponse, match=r"http://127\.0\.0\.1:8000/v1/qa"):
        client.ask(STORY, "Where?")


def test_many_questions_keep_their_order_over_chunks(client, server):
    requests = [{"story": STORY, "question": f"q{number}"} for number in range(1024 + 3)]
    results = client.ask_many(iter(requests))
    assert [result.answer for result in results] == [request["question"] for request in requests]
    assert [len(body["requests"]) for body in server.bodies] == [1024, 3]


def test_a_bad_item_spoils_only_itself_and_knows_its_place(client):
    questions = [f"q{number}" for number in range(1024)] + ["a", "milkk", "b"]
    results = client.ask_many([{"story": STORY, "question": question} for question in questions])
    assert [result.answer for result in results[1024:1025] + results[1026:]] == ["a", "b"]
    bad = results[1025]
    assert isinstance(bad, engram.ItemError)
    assert (bad.index, bad.code) == (1025, "unknown_words")
    error = bad.as_exception()
    assert isinstance(error, engram.UnknownWords)
    assert error.words == {"milkk": ["milk", "silk"]}


def test_no_questions_need_no_request(client, server):
    assert client.ask_many([]) == []
    assert server.requests == []


def test_a_batch_answered_with_too_few_results_is_an_unexpected_response(client, server):
    server.queue.append(httpx2.Response(200, json={"results": [qa_payload()]}))
    with pytest.raises(engram.UnexpectedResponse, match="1 results for 2 requests"):
        client.ask_many([{"story": STORY, "question": "a"}] * 2)


def test_models_are_listed_with_what_they_take(client):
    (model,) = client.models()
    assert (model.name, model.task, model.versions, model.state) == ("dmn-plus-babi", "qa", ("1",), "ready")
    assert model.limits["max_facts"] == 256
    assert client.model("dmn-plus-babi").raw["parity"] == {"largest": 1e-6}


def test_versions_may_be_described(client, server):
    versions = [{"version": 2, "state": "ready"}, {"version": 1, "state": "failed"}]
    server.queue.append(httpx2.Response(200, json={"name": "m", "versions": versions, "device": None}))
    model = client.model("m")
    assert (model.versions, model.device) == (("2", "1"), "")


def test_a_model_name_cannot_leave_its_path(client, server):
    with pytest.raises(engram.NotFound):
        client.vocabulary("../../health/live")
    assert server.requests[0].url.raw_path == b"/v1/models/..%2F..%2Fhealth%2Flive/vocabulary"


def test_the_vocabulary_is_a_list_of_words(client):
    assert client.vocabulary("dmn-plus-babi") == ["garden", "milk", "where"]


def test_a_picture_is_asked_for_by_media_type(client, server):
    assert client.picture(STORY, "Where?", format="png", model="m") == b"<picture/>"
    assert server.requests[0].headers["Accept"] == "image/png"
    assert server.bodies[0]["model"] == "m"


def test_an_unknown_picture_format_is_refused_before_anything_is_sent(client, server):
    with pytest.raises(ValueError, match="'gif', expected one of svg, png"):
        client.picture(STORY, "Where?", format="gif")
    assert server.requests == []


def test_a_picture_of_another_type_is_an_unexpected_response(client, server):
    server.queue.append(httpx2.Response(200, json=qa_payload()))
    with pytest.raises(engram.UnexpectedResponse, match="application/json"):
        client.picture(STORY, "Where?")


def test_health_is_a_plain_yes_or_no(client, server):
    assert client.is_live()
    assert client.is_ready()
    server.queue += [
        error_reply(503, "model_not_ready"),
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("slow"),
    ]
    assert not client.is_ready()
    assert not client.is_live()
    assert not client.is_ready()
    assert len(server.requests) == 5  # never asked again


def test_with_options_changes_a_copy_that_shares_the_connections(server):
    with engram.Client(api_key="first", transport=httpx2.MockTransport(server)) as client:
        other = client.with_options(api_key="second", timeout=7.0, headers={"X-Team": "blue"})
        other.ask(STORY, "Where?")
        client.ask(STORY, "Where?")
    changed, original = (request.headers for request in server.requests)
    assert (changed["Authorization"], changed["X-Timeout-Ms"], changed["X-Team"]) == (
        "Bearer second",
        "7000",
        "blue",
    )
    assert (original["Authorization"], original["X-Timeout-Ms"]) == ("Bearer first", "30000")
    assert "X-Team" not in original


def test_url_and_key_come_from_the_environment(monkeypatch, server):
    monkeypatch.setenv("ENGRAM_URL", "https://engram.example/behind/")
    monkeypatch.setenv("ENGRAM_API_KEY", "secret")
    with engram.Client(transport=httpx2.MockTransport(server)) as client:
        assert repr(client) == "Client('https://engram.example/behind')"
        with pytest.raises(engram.NotFound):
            client.ask(STORY, "Where?")
    assert str(server.requests[0].url) == "https://engram.example/behind/v1/qa"
    assert server.requests[0].headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"url": "localhost:8000"}, "expected a form like http://127.0.0.1:8000", id="no_scheme"),
        pytest.param({"url": "ftp://host"}, "expected a form like", id="other_scheme"),
        pytest.param({"url": "http://host:port"}, "is not one", id="no_url"),
        pytest.param({"timeout": 0}, "timeout is 0", id="no_time"),
        pytest.param({"timeout": float("nan")}, "timeout is nan", id="not_a_time"),
        pytest.param({"retries": -1}, "retries is -1", id="negative_retries"),
        pytest.param({"api_key": "two\nlines"}, "API key", id="key_with_newline"),
    ],
)
def test_unusable_settings_are_named_at_once(settings, message):
    with pytest.raises(engram.ConfigurationError, match=message):
        engram.Client(**settings)


def test_a_password_in_the_url_stays_out_of_messages(server):
    server.queue.append(httpx2.ConnectError("refused"))
    client = engram.Client("http://me:secret@host:1", retries=0, transport=httpx2.MockTransport(server))
    with client, pytest.raises(engram.ConnectionFailed) as caught:
        client.ask(STORY, "Where?")
    assert "secret" not in str(caught.value) + repr(client)


def test_threads_share_a_client(client):
    answers = {}

    def work(number):
        for turn in range(20):
            question = f"{number}.{turn}"
            (result,) = client.ask_many([{"story": STORY, "question": question}])
            answers[question] = result.answer

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 160
    assert all(question == answer for question, answer in answers.items())


async def test_the_async_client_answers_as_the_blocking_one_does(server, client):
    async with engram.AsyncClient(transport=httpx2.MockTransport(server)) as other:
        assert await other.ask(STORY, "Where?") is not None
        answer = await other.ask(STORY, "Where?")
        np.testing.assert_array_equal(answer.attention.weights, client.ask(STORY, "Where?").attention.weights)
        assert [item.answer for item in await other.ask_many([{"story": STORY, "question": "a"}])] == ["a"]
        assert await other.models() == client.models()
        assert (await other.model("dmn-plus-babi")).name == "dmn-plus-babi"
        assert await other.vocabulary("dmn-plus-babi") == client.vocabulary("dmn-plus-babi")
        assert await other.picture(STORY, "Where?") == b"<picture/>"
        assert await other.is_live()
        assert await other.is_ready()
        hurried = other.with_options(timeout=3.0)
        await hurried.ask(STORY, "Where?", timeout=2.0)
    assert server.requests[-1].headers["X-Timeout-Ms"] == "2000"
    assert repr(hurried) == "AsyncClient('http://127.0.0.1:8000')"


def test_both_clients_offer_the_same_calls():
    def calls(client):
        functions = inspect.getmembers(client, inspect.isfunction)
        signatures = {name: str(inspect.signature(call)) for name, call in functions if name[0] != "_"}
        return {name: text.replace("AsyncIterator", "Iterator") for name, text in signatures.items()}

    assert calls(engram.Client) == calls(engram.AsyncClient)
