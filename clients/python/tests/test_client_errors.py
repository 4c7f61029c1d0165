import copy
import pickle

import httpx2
import pytest
from conftest import STORY, error_reply

import engram
from engram.errors import BY_CODE, BY_STATUS


def ask(server, reply):
    server.queue.append(reply)
    with engram.Client(retries=0, transport=httpx2.MockTransport(server)) as client:
        return client.ask(STORY, "Where?")


@pytest.mark.parametrize(("code", "kind"), BY_CODE.items(), ids=BY_CODE.keys())
def test_the_code_decides_the_class(server, code, kind):
    with pytest.raises(engram.APIStatusError) as caught:
        ask(server, error_reply(418, code, "the kettle is on", temperature=90))
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.status, error.request_id) == (code, 418, "r-1")
    assert (error.message, error.details) == ("the kettle is on", {"temperature": 90})
    assert str(error) == f"the kettle is on [{code}, request r-1]"


@pytest.mark.parametrize(
    ("status", "kind"),
    [*BY_STATUS.items(), (500, engram.ServerError), (507, engram.ServerError), (418, engram.APIStatusError)],
)
def test_an_unknown_code_or_none_falls_back_to_the_status(server, status, kind):
    for reply in (error_reply(status, "quite_new"), httpx2.Response(status, text="<h1>proxy</h1>")):
        with pytest.raises(engram.APIStatusError) as caught:
            ask(server, reply)
        assert type(caught.value) is kind


def test_an_error_without_an_envelope_shows_what_came(server):
    with pytest.raises(
        engram.Unavailable, match="HTTP 502 without an Engram error: <h1> Bad Gateway </h1>"
    ) as caught:
        ask(server, httpx2.Response(502, text="<h1>\n Bad Gateway\n</h1>"))
    assert caught.value.code == ""
    assert caught.value.request_id == server.requests[0].headers["X-Request-Id"]


def test_a_redirect_is_an_error_and_not_followed(server):
    with pytest.raises(engram.APIStatusError) as caught:
        ask(server, httpx2.Response(307, headers={"Location": "http://elsewhere/"}))
    assert caught.value.status == 307


def test_no_server_says_which_url_was_tried_and_how_to_start_one(server):
    with pytest.raises(engram.ConnectionFailed) as caught:
        ask(server, httpx2.ConnectError("Connection refused"))
    message = str(caught.value)
    for part in ("http://127.0.0.1:8000", "Connection refused", "make serve", "ENGRAM_URL"):
        assert part in message


def test_both_kinds_of_passed_deadline_are_a_timeout(server):
    for reply in (httpx2.ReadTimeout("slow"), error_reply(504, "deadline_exceeded")):
        with pytest.raises(engram.Timeout):
            ask(server, reply)
        assert issubclass(engram.Timeout, TimeoutError)


def test_unknown_words_come_with_the_nearest_known_ones(server):
    words = [{"word": "milkk", "nearest": ["milk", "silk"]}, {"word": "zzz"}]
    with pytest.raises(engram.UnknownWords) as caught:
        ask(server, error_reply(422, "unknown_words", words=words))
    assert caught.value.words == {"milkk": ["milk", "silk"], "zzz": []}


def test_a_missing_model_lists_what_exists(server):
    with pytest.raises(engram.ModelNotFound) as caught:
        ask(server, error_reply(404, "model_not_found", models=["a", "b"]))
    assert caught.value.models == ["a", "b"]


def test_everything_raised_is_one_family():
    exported = [getattr(engram, name) for name in engram.__all__]
    errors = [kind for kind in exported if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(errors) > 15
    assert all(issubclass(kind, engram.EngramError) for kind in errors)
    assert all(kind in errors for kind in {*BY_CODE.values(), *BY_STATUS.values()})


@pytest.mark.parametrize(
    "remade", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"]
)
def test_errors_travel_between_processes(remade):
    error = remade(engram.Overloaded("full", 429, "overloaded", {"queue": 7}, "r-1", 3.0))
    assert type(error) is engram.Overloaded
    assert (error.details, error.request_id, error.retry_after) == ({"queue": 7}, "r-1", 3.0)
    assert str(error) == "full [overloaded, request r-1]"
