"""Settings: where they come from, and what a wrong one says."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from server.settings import Settings, SettingsError, load_settings, misspelled, variable


def test_defaults_listen_on_this_machine_only():
    settings = load_settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.models == ()
    assert not settings.allow_anonymous


def test_environment_is_read_and_overridden(monkeypatch):
    monkeypatch.setenv("ENGRAM_PORT", "9000")
    monkeypatch.setenv("ENGRAM_MODELS", "first, second:2,")
    monkeypatch.setenv("ENGRAM_ALLOW_ANONYMOUS", "1")
    monkeypatch.setenv("ENGRAM_MODEL_EXECUTORS", "first=3, second=1,")
    monkeypatch.setenv("ENGRAM_HOST", "")
    assert load_settings().port == 9000
    assert load_settings(port="9001").port == 9001
    assert load_settings().models == ("first", "second:2")
    assert load_settings().model_executors == {"first": 3, "second": 1}
    assert load_settings().allow_anonymous
    assert load_settings().host == "127.0.0.1"
    assert load_settings(model_repository="elsewhere").model_repository == Path("elsewhere")


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        load_settings().port = 1


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("ENGRAM_PORT", "http", "integer"),
        ("ENGRAM_PORT", "70000", "65535"),
        ("ENGRAM_DEVICE", "tpu", "'auto', 'cpu' or 'cuda'"),
        ("ENGRAM_LOG_LEVEL", "loud", "'debug'"),
        ("ENGRAM_EXECUTORS", "0", "greater than or equal to 1"),
        ("ENGRAM_MODEL_EXECUTORS", "first", "NAME=COUNT"),
        ("ENGRAM_MODEL_EXECUTORS", "first=65", "64"),
        ("ENGRAM_DRAIN_S", "-1", "greater than or equal to 0"),
    ],
)
def test_wrong_value_names_the_variable_and_what_is_accepted(monkeypatch, name, value, accepted):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert name in message
    assert repr(value) in message
    assert accepted in message
    assert "\n" not in message


def test_every_wrong_value_is_told_at_once(monkeypatch):
    monkeypatch.setenv("ENGRAM_PORT", "x")
    monkeypatch.setenv("ENGRAM_DEVICE", "y")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_has_one_sentence(field):
    description = Settings.model_fields[field].description
    assert description.endswith(".")
    assert ". " not in description


def test_misspelled_variable_is_noticed():
    assert misspelled({"ENGRAM_PROT": "1", "ENGRAM_DATA": "x", "ENGRAM_PORT": "1"}) == {
        "ENGRAM_PROT": variable("port")
    }
