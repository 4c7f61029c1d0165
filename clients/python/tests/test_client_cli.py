import io
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
import typer
from conftest import STORY, error_reply, qa_payload
from typer.testing import CliRunner

import engram
from engram.cli.app import app

QUESTION = "Where is the milk?"


@pytest.fixture
def story(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text("\n".join(STORY) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.txt"
    path.write_text("Where is the milk?\n\nWho left?\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def run(server):
    def invoke(*arguments, input=None, **environment):
        transport = httpx2.MockTransport(server)
        return CliRunner().invoke(app, arguments, input=input, env=environment, obj=transport)

    return invoke


def long_payload(facts, hot):
    weights = [[1.0 if fact == hot else 0.0 for fact in range(facts)]]
    axes = [{"name": "hop", "labels": ["1"]}, {"name": "fact", "labels": [f"fact {n}" for n in range(facts)]}]
    attention = {
        "kind": "episodic_gate",
        "normalized_over": "fact",
        "axes": axes,
        "weights": weights,
        "offset": 4,
    }
    evidence = [{"index": hot + 4, "text": f"fact {hot}", "weight": 1.0}]
    return qa_payload(attention=attention, hops=[{"answer": "garden", "score": 1.0}], evidence=evidence)


def test_an_answer_comes_with_its_hops_over_the_sentences(run, story, server):
    result = run("ask", story, QUESTION)
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert lines[0] == QUESTION.split()
    assert lines[1] == ["garden", "0.998", "then", "kitchen", "0.001"]
    assert lines[2] == ["#", "fact", "hop", "1", "hop", "2", "hop", "3"]
    assert lines[4] == ["1", *STORY[0].split(), "0.01", "0.00", "0.00"]
    assert lines[5] == ["●", "2", *STORY[1].split(), "0.97", "0.12", "0.50"]
    assert lines[7] == ["answer", "after", "each", "hop", "kitchen", "garden", "garden"]
    assert server.bodies == [{"story": "\n".join(STORY), "question": QUESTION}]


def test_a_terminal_gets_colour_and_no_color_takes_it_away(run, story):
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    coloured = run("ask", story, QUESTION, **terminal).stdout
    plain = run("ask", story, QUESTION, NO_COLOR="1", **terminal).stdout
    assert "\x1b[1;38;2;255;255;255;48;2;" in coloured
    assert "48;2;" not in plain
    assert "0.97" in plain


def test_a_long_story_shows_where_it_has_heat_and_counts_the_rest(run, story, server):
    server.queue.append(httpx2.Response(200, json=long_payload(60, hot=40)))
    lines = [line.split() for line in run("ask", story, QUESTION).stdout.splitlines()]
    assert ["●", "45", "fact", "40", "1.00"] in lines
    assert ["…", "38", "more,", "0.00", "at", "most"] in lines
    assert ["…", "19", "more,", "0.00", "at", "most"] in lines


def test_all_shows_every_sentence_of_a_long_story(run, story, server):
    server.queue.append(httpx2.Response(200, json=long_payload(60, hot=40)))
    printed = run("ask", story, QUESTION, "--all").stdout
    assert all(f"fact {fact} " in printed for fact in range(60))


def test_top_attention_shows_what_was_not_sent_as_a_dot(run, story, server):
    attention = {**qa_payload()["attention"], "weights": [[[1, 0.97]], [[2, 0.875]], [[1, 0.5]]]}
    server.queue.append(httpx2.Response(200, json=qa_payload(attention=attention)))
    lines = [line.split() for line in run("ask", story, QUESTION, "--attention", "top").stdout.splitlines()]
    assert ["●", "2", *STORY[1].split(), "0.97", "·", "0.50"] in lines


def test_without_attention_the_evidence_is_listed(run, story, server):
    server.queue.append(httpx2.Response(200, json=qa_payload(attention=None)))
    lines = [line.split() for line in run("ask", story, QUESTION, "--attention", "none").stdout.splitlines()]
    assert ["0.97", "2", *STORY[1].split()] in lines


def test_text_from_outside_cannot_steer_the_terminal(run, story, server):
    server.queue.append(httpx2.Response(200, json=qa_payload(answer="[red]gar\x1b[31mden")))
    printed = run("ask", story, QUESTION).stdout
    assert "[red]gar [31mden" in printed
    assert "\x1b" not in printed


def test_json_is_the_servers_own_on_one_line(run, story):
    result = run("ask", story, QUESTION, "--json")
    assert json.loads(result.stdout) == qa_payload()
    assert result.stdout.count("\n") == 1


def test_options_reach_the_server(run, story, server):
    options = {"--model": "m:2", "--attention": "top", "--truncate": "oldest", "--unknown-words": "map"}
    run("ask", story, QUESTION, *(word for pair in options.items() for word in pair), "--timeout", "2.5")
    body = server.bodies[0]
    assert [body[name[2:].replace("-", "_")] for name in options] == list(options.values())
    assert server.requests[0].headers["X-Timeout-Ms"] == "2500"


@pytest.mark.parametrize("how", ["option", "environment"])
def test_the_server_is_where_the_user_says(run, story, server, how):
    url = "http://engram.example:9"
    run("ask", story, QUESTION, *(["--url", url] if how == "option" else []), ENGRAM_URL=url)
    assert str(server.requests[0].url) == f"{url}/v1/qa"


def test_a_story_comes_from_standard_input(run, server):
    assert run("ask", "-", QUESTION, input="\ufeffJohn took the milk. He left.\n").exit_code == 0
    assert server.bodies[0]["story"] == "John took the milk. He left."


def test_warnings_go_to_standard_error(run, story, server):
    server.queue.append(httpx2.Response(200, json=qa_payload(warnings=["the first 2 facts were left out"])))
    result = run("ask", story, QUESTION, "--json")
    assert result.stderr == "engram: note: the first 2 facts were left out\n"
    assert json.loads(result.stdout)["answer"] == "garden"


@pytest.mark.parametrize(("name", "media_type"), [("out.svg", "image/svg+xml"), ("out.PNG", "image/png")])
def test_a_picture_is_drawn_in_the_format_of_its_name(run, story, server, name, media_type):
    path = Path(story).with_name(name)
    result = run("ask", story, QUESTION, "--model", "m", "--attention", "none", "--picture", str(path))
    assert result.exit_code == 0
    assert path.read_bytes() == b"<picture/>"
    assert server.requests[1].headers["Accept"] == media_type
    assert server.bodies[1] == {"story": "\n".join(STORY), "question": QUESTION, "model": "m"}


def test_many_questions_are_asked_together(run, story, questions, server):
    result = run("ask", story, "--questions", questions)
    assert result.exit_code == 0
    assert len(server.requests) == 1
    assert [item["question"] for item in server.bodies[0]["requests"]] == ["Where is the milk?", "Who left?"]
    assert all(item["attention"] == "none" for item in server.bodies[0]["requests"])
    assert "2. John took the milk." in result.stdout


def test_many_questions_as_json_are_a_line_each(run, story, questions):
    lines = run("ask", story, "--questions", questions, "--json").stdout.splitlines()
    assert [json.loads(line)["question"] for line in lines] == ["Where is the milk?", "Who left?"]


def test_a_question_without_an_answer_spoils_only_itself_and_the_exit_code(run, story):
    result = run("ask", story, "--questions", "-", input="Where?\nWhere is the milkk?\n")
    assert result.exit_code == 1
    assert "milkk (near: milk silk)" in " ".join(result.stdout.split())
    assert result.stderr == "engram: 1 of 2 questions have no answer\n"


def test_progress_is_shown_on_a_terminal_only(run, story, questions):
    assert "asking" in run("ask", story, "--questions", questions, "--json", FORCE_COLOR="1").stderr
    assert run("ask", story, "--questions", questions, "--json").stderr == ""


def test_models_are_listed(run):
    assert "dmn-plus-babi:1   qa     ready   onnx cpu   max_facts 256, max_words 16" in run("models").stdout
    assert json.loads(run("models", "--json").stdout)[0]["parity"] == {"largest": 1e-6}


def test_names_are_whole_however_narrow_the_terminal(run):
    assert "dmn-plus-babi:1" in run("models", COLUMNS="40").stdout


def test_a_model_that_failed_says_why(run, server):
    broken = {"name": "b", "state": "failed", "reason": "probe 3 differs", "limits": {}}
    server.queue.append(httpx2.Response(200, json={"models": [broken]}))
    assert "probe 3 differs" in run("models").stdout


def test_a_vocabulary_is_a_word_a_line_in_a_pipe(run):
    assert run("vocabulary", "dmn-plus-babi").stdout == "garden\nmilk\nwhere\n"
    assert json.loads(run("vocabulary", "dmn-plus-babi", "--json").stdout) == ["garden", "milk", "where"]
    assert run("vocabulary", "dmn-plus-babi", FORCE_COLOR="1").stdout.split() == ["garden", "milk", "where"]


WORDS = [{"word": "milkk", "nearest": ["milk", "silk"]}, {"word": "zzz", "nearest": []}]


@pytest.mark.parametrize(
    ("reply", "code", "line"),
    [
        pytest.param(
            error_reply(422, "unknown_words", words=WORDS),
            1,
            "unknown words: milkk (near: milk silk), zzz; --unknown-words map answers in spite of them",
            id="unknown_words",
        ),
        pytest.param(
            error_reply(422, "input_too_long", "story has 84 facts, this model takes 70", knob="max_facts"),
            1,
            "story has 84 facts, this model takes 70; --truncate oldest leaves out the first sentences",
            id="input_too_long",
        ),
        pytest.param(
            error_reply(422, "input_too_long", "question has 84 words", knob="max_question_words"),
            1,
            "question has 84 words",
            id="question_too_long",
        ),
        pytest.param(
            error_reply(404, "model_not_found", "no model 'x'"), 1, "no model 'x'", id="model_not_found"
        ),
        pytest.param(
            error_reply(401, "unauthorized", "a key is needed"),
            1,
            "a key is needed; this command sends the one in ENGRAM_API_KEY",
            id="unauthorized",
        ),
        pytest.param(
            error_reply(500, "internal", "failed"), 1, "failed [internal, request r-1]", id="internal"
        ),
        pytest.param(
            error_reply(429, "overloaded", "the queue is full", headers={"Retry-After": "90"}),
            4,
            "the queue is full; try again in 90 s",
            id="overloaded",
        ),
        pytest.param(
            error_reply(504, "deadline_exceeded", "too late"),
            4,
            "too late [deadline_exceeded, request r-1]",
            id="deadline_exceeded",
        ),
    ],
)
def test_an_error_is_one_plain_line_and_an_exit_code(run, server, reply, code, line):
    server.queue += [reply] * 3
    result = run("ask", "-", QUESTION, "--timeout", "0.3", input=STORY[0])
    assert (result.exit_code, result.stderr) == (code, f"engram: {line}\n")
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (httpx2.ConnectError("refused"), 3),
        (httpx2.ReadTimeout("slow"), 4),
        (httpx2.Response(200, text="hi"), 3),
    ],
    ids=["refused", "slow", "another_server"],
)
def test_no_answer_is_one_plain_line_and_an_exit_code(run, story, server, failure, code):
    server.queue.append(failure)
    result = run("ask", story, QUESTION, "--timeout", "0.3")
    assert result.exit_code == code
    assert result.stderr.startswith("engram: ")
    assert result.stderr.count("\n") == 1
    assert "http://127.0.0.1:8000" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        pytest.param(["ask", "{story}"], "give one question", id="no_question"),
        pytest.param(["ask", "{story}", "Who?", "--questions", "f"], "give one question", id="both"),
        pytest.param(
            ["ask", "missing.txt", "Who?"], "cannot read the story 'missing.txt': No such", id="no_story"
        ),
        pytest.param(["ask", "{empty}", "Who?"], "is empty", id="empty_story"),
        pytest.param(["ask", "{binary}", "Who?"], "is not UTF-8 text (byte 0)", id="binary_story"),
        pytest.param(
            ["ask", "{story}", "--questions", "{empty}"], "there are no questions in", id="no_questions"
        ),
        pytest.param(
            ["ask", "-", "--questions", "-"], "cannot both come from standard input", id="stdin_twice"
        ),
        pytest.param(["ask", "{story}", "Who?", "--picture", "a.gif"], ".svg or .png", id="picture_format"),
        pytest.param(
            ["ask", "{story}", "Who?", "--picture", "no/a.svg"], "no such folder", id="picture_folder"
        ),
        pytest.param(
            ["ask", "{story}", "--questions", "f", "--picture", "a.svg"], "draws one", id="picture_of_many"
        ),
        pytest.param(["ask", "{story}", "Who?", "--truncate", "x"], "'x' is not one of", id="wrong_choice"),
        pytest.param(["ask", "{story}", "Who?", "--url", "nowhere"], "expected a form like", id="wrong_url"),
        pytest.param(["ask", "Mary left.", "Who?"], "goes through standard input", id="a_story_itself"),
        pytest.param(["ask", "{story}", "Wh\udce9?"], "'\\udce9' is no character", id="no_text"),
        pytest.param(["compare", "point", '{{"points": [[NaN, 0]]}}'], "it has no NaN", id="no_number"),
        pytest.param(["compare", "qa", "["], "cannot read the request", id="no_request"),
        pytest.param(["ask"], "Missing argument", id="no_arguments"),
        pytest.param(["aks"], "No such command", id="no_command"),
    ],
)
def test_wrong_usage_is_one_plain_line_and_nothing_is_sent(run, server, tmp_path, arguments, line):
    (tmp_path / "empty").write_text(" \n\n")
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    (tmp_path / "story").write_text(STORY[0])
    places = {"story": tmp_path / "story", "empty": tmp_path / "empty", "binary": tmp_path / "binary"}
    result = run(*(argument.format(**places) for argument in arguments))
    assert result.exit_code == 2
    assert result.stderr.startswith("engram: ")
    assert line in result.stderr
    assert result.stderr.count("\n") == 1
    assert server.requests == []


def test_a_picture_that_cannot_be_written_says_so(run, story, tmp_path):
    (tmp_path / "out.svg").mkdir()
    result = run("ask", story, QUESTION, "--picture", str(tmp_path / "out.svg"))
    assert result.exit_code == 2
    assert "cannot write" in result.stderr


def test_ctrl_c_is_quiet(run, story, server):
    def interrupt(request):
        raise KeyboardInterrupt

    server.queue.append(interrupt)
    result = run("ask", story, QUESTION)
    assert (result.exit_code, result.output) == (130, "")


def test_a_full_disk_is_one_plain_line():
    script = """
from engram.cli import app as cli
def full(*_):
    raise OSError(28, "No space left on device")
cli.Client.models = lambda _: []
cli.report.show_models = full
cli.app(["models"])
"""
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    said = "engram: cannot use what was to be written: No space left on device\n"
    assert (finished.returncode, finished.stderr) == (2, said)


def test_a_terminal_is_told_that_it_is_waited_for(run, monkeypatch):
    class Terminal(io.BytesIO):
        def isatty(self):
            return True

    monkeypatch.setattr(typer, "get_binary_stream", lambda _: Terminal(STORY[0].encode()))
    result = run("ask", "-", QUESTION)
    assert result.exit_code == 0
    assert "reading from the terminal; Ctrl-D" in result.stderr


def test_help_teaches_by_example_and_lists_the_exit_codes(run):
    printed = " ".join(run("ask", "--help").stdout.split())
    assert 'engram ask story.txt "Where is the milk?"' in printed
    assert "Exit codes: 0 answered, 1 the server said no, 2 wrong usage, 3 no server, 4 timed out" in printed
    assert run().stdout == run("--help").stdout


def test_the_version_is_that_of_the_package(run):
    assert run("--version").stdout == f"engram {engram.__version__}\n"


def test_the_command_runs_as_a_module():
    finished = subprocess.run(
        [sys.executable, "-m", "engram", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert finished.stdout == f"engram {engram.__version__}\n"


def test_an_output_that_lacks_a_sign_gets_a_question_mark_for_it():
    faked = "import engram.cli.app as cli; cli.app = lambda **_: print('0.97 \\u2026')"
    script = f"{faked}; from engram.__main__ import main; main()"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    finished = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environment,
    )
    assert finished.stdout == "0.97 ?\n"


def test_ctrl_c_is_quiet_from_the_first_moment():
    script = """
import sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "rich":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from engram.__main__ import main
main()
"""
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert (finished.returncode, finished.stderr) == (130, "")


def test_without_its_extra_the_command_says_how_to_get_it():
    script = "import sys; sys.modules['typer'] = None; from engram.__main__ import main; main()"
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert finished.returncode == 2
    assert finished.stderr == "engram: the command needs typer: pip install 'engram-client[cli]'\n"


def test_the_library_needs_neither_typer_nor_rich():
    script = "import sys, engram; print(sorted({'typer', 'rich', 'click'} & sys.modules.keys()))"
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert finished.stdout == "[]\n"
