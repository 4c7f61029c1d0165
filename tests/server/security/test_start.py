"""Who may be served is decided before the first request: addresses, keys, and what keys are asked for."""

import pytest

from server.__main__ import main
from tests.server.security.conftest import KEY


@pytest.fixture
def start(repository_folder, monkeypatch, capsys):
    """Start the server up to the point where it would serve: its exit status and what it said."""
    monkeypatch.setattr("server.__main__._prepare", lambda settings, listeners: None)
    monkeypatch.setattr("server.__main__.serve", lambda app, listeners: True)

    def start(*options):
        status = main(["--port", "0", "--model-repository", str(repository_folder), *options])
        return status, capsys.readouterr().err

    return start


def test_loopback_needs_no_key(start):
    for host in ("127.0.0.1", "127.3.2.1", "localhost"):
        assert start("--host", host) == (0, "")


def test_other_machines_are_served_with_keys_or_on_purpose(start, tmp_path):
    file = tmp_path / "keys"
    file.write_text(KEY)
    assert start("--host", "0.0.0.0")[0] == 2
    assert start("--host", "0.0.0.0", "--admin-keys", KEY)[0] == 2
    for permission in (["--api-keys", KEY], ["--api-keys-file", str(file)], ["--allow-anonymous", "1"]):
        assert start("--host", "0.0.0.0", *permission) == (0, "")


def test_a_refusal_names_every_way_out(start):
    _, message = start("--host", "0.0.0.0")
    for name in ("ENGRAM_API_KEYS", "ENGRAM_API_KEYS_FILE", "127.0.0.1", "ENGRAM_ALLOW_ANONYMOUS=1"):
        assert name in message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--api-keys", f"{KEY},two words"], "ENGRAM_API_KEYS, entry 2"),
        (["--api-keys-file", "/nonexistent/keys"], "ENGRAM_API_KEYS_FILE cannot be read"),
        (["--protect-metrics", "1"], "ENGRAM_PROTECT_METRICS needs keys"),
        (["--protect-docs", "1"], "ENGRAM_PROTECT_DOCS needs keys"),
        (["--max-json-depth", "1"], "ENGRAM_MAX_JSON_DEPTH"),
        (["--header-timeout-s", "0"], "ENGRAM_HEADER_TIMEOUT_S"),
    ],
)
def test_what_cannot_work_is_told_and_no_key_is_shown(start, options, expected):
    status, message = start(*options)
    assert status == 2
    assert expected in message
    assert KEY not in message
    assert "two words" not in message
    assert "Traceback" not in message
