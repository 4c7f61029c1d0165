"""Log lines: one a record, whatever is in it."""

import io
import logging

import orjson
import pytest

from server.logs import REQUEST_ID, configure_logging


@pytest.fixture
def lines():
    root, threads = logging.getLogger(), logging.logThreads
    before = root.level, root.handlers[:]
    stream = io.StringIO()

    def configure(form, level="info"):
        configure_logging(level, form, stream)
        return stream

    yield configure
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = threads


def test_json_line_holds_message_fields_and_request_id(lines):
    stream = lines("json")
    token = REQUEST_ID.set("abc")
    logging.getLogger("a").info("hello %s", "you", extra={"fields": {"status": 200}})
    REQUEST_ID.reset(token)
    line = orjson.loads(stream.getvalue())
    assert (
        line.items()
        >= {
            "level": "info",
            "logger": "a",
            "message": "hello you",
            "status": 200,
            "request_id": "abc",
        }.items()
    )
    assert line["time"].endswith("+00:00")


def test_json_line_holds_the_traceback(lines):
    stream = lines("json")
    try:
        {}["lost"]
    except KeyError:
        logging.getLogger("a").exception("failed")
    line = orjson.loads(stream.getvalue())
    assert "KeyError: 'lost'" in line["traceback"]
    assert stream.getvalue().count("\n") == 1


def test_text_line_cannot_be_forged(lines):
    stream = lines("text")
    logging.getLogger("a").info("request", extra={"fields": {"path": "/x\n2026 ERROR \x1b[31mfake"}})
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_level_is_respected(lines):
    stream = lines("json", "warning")
    logging.getLogger("a").info("quiet")
    assert stream.getvalue() == ""


def test_auto_is_json_where_there_is_no_terminal(lines):
    stream = lines("auto")
    logging.getLogger("a").info("hello")
    assert orjson.loads(stream.getvalue())["message"] == "hello"
