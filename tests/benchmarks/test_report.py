import json
import sys

import pytest

from benchmarks.report import Table, ratios, spread, write


def test_a_spread_is_the_median_between_the_extremes():
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 (1.0 to 3.0)"


def test_ratios_are_taken_pair_by_pair():
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_measurements_without_a_partner_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_a_result_says_how_and_on_what_it_was_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--repeats", "2"])
    table = Table("Speed", ("server", "requests/s"), [["ours", "7"]])
    write("benchmarks.demo", {"model": "tiny:1"}, [table], {"loads": [7]}, tmp_path)
    text = (tmp_path / "demo.md").read_text()
    told = json.loads((tmp_path / "demo.json").read_text())
    assert told["loads"] == [7]
    assert told["context"]["command"] == "python -m benchmarks.demo --repeats 2"
    for key in ("command", "date", "model", "processor", "python", "packages", "commit"):
        assert f"- {key}: {told['context'][key]}" in text
    assert "| server | requests/s |\n| --- | --- |\n| ours | 7 |" in text
    assert capsys.readouterr().out.strip() == text.strip()
