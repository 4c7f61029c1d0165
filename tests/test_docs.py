"""The documentation says what the code does: headings, tables, links, commands and examples."""

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args, get_origin

import httpx2
import pytest

from models.families import FAMILIES
from server.api import http_errors
from server.api.error_handlers import status_of
from server.app import create_app
from server.errors import EngramError
from server.settings import Settings, variable
from server.tasks import TASKS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "clients").rglob("*.md")])


def page(name):
    return (DOCS / name).read_text()


def headings(name):
    return re.findall(r"^##+ `(.+)`$", page(name), flags=re.M)


def families_of(error):
    return [error, *(cls for child in error.__subclasses__() for cls in families_of(child))]


def blocks(name, language):
    text = (ROOT / name).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


# What the code has, the documents have


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_has_its_row(field):
    record = Settings.model_fields[field]
    default = str(record.default).lower() if isinstance(record.default, bool) else record.default
    shown = "none" if default in ((), {}, None) else f"`{default}`"
    choices = [
        value for kind in (record.annotation, *get_args(record.annotation)) for value in literals(kind)
    ]
    accepted = f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
    row = f"| `{variable(field)}` | {shown} | {record.description}{accepted} |"
    assert row in page("settings.md").splitlines()


def literals(kind):
    return get_args(kind) if get_origin(kind) is Literal else ()


def test_every_error_code_has_its_heading_and_status():
    assert issubclass(http_errors.NotFound, EngramError)
    described = dict(re.findall(r"^## `(.+)`\n\nStatus (\d+)\.", page("errors.md"), flags=re.M))
    raised = {(cls.code, str(status_of(cls.__new__(cls)))) for cls in families_of(EngramError)}
    assert set(described.items()) == raised
    assert headings("errors.md") == list(described)


def test_every_endpoint_has_its_heading():
    paths = create_app(Settings()).openapi()["paths"]
    served = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert served == set(headings("api.md"))


@pytest.mark.parametrize("task", TASKS)
def test_every_field_of_a_task_is_described(task):
    section = page("api.md").partition(f"## `POST /v1/{task}`\n")[2].partition("\n## ")[0]
    fields = {*TASKS[task].Request.__struct_fields__, *TASKS[task].Answer.__struct_fields__}
    rows = "\n".join(line.split("|")[1] for line in section.splitlines() if line.startswith("|"))
    assert fields == set(re.findall(r"`(\w+)`", rows))


def test_every_family_has_its_heading_and_its_row():
    assert headings("adding-a-model.md") == list(FAMILIES)
    assert all(f"`{family}`" in (ROOT / "README.md").read_text() for family in FAMILIES)


def test_every_task_is_in_the_readme():
    assert all(f"`POST /v1/{task}`" in (ROOT / "README.md").read_text() for task in TASKS)


def test_every_decision_is_context_decision_and_consequence():
    for path in (DOCS / "decisions").glob("*.md"):
        assert re.findall(r"^## (.+)$", path.read_text(), flags=re.M) == [
            "Context",
            "Decision",
            "Consequence",
        ]


def test_the_committed_openapi_document_is_the_applications():
    assert json.loads(page("openapi.json")) == json.loads(json.dumps(create_app(Settings()).openapi())), (
        "run make openapi"
    )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text())
    missing = [target for target in targets if "://" not in target and not (path.parent / target).exists()]
    assert missing == []


# What the documents show, the server does


def listening(log):
    """Return the address from a server's log, once it is there."""
    seen = []
    for line in log:
        seen.append(line)
        if line.startswith("{") and "url" in (record := json.loads(line)):
            return record["url"]
    pytest.fail("the server did not start: " + "".join(seen))


@contextmanager
def serving_from(repository):
    """Start a server with the bundles of a folder on a port the system picks, and yield its address."""
    command = [
        sys.executable,
        "-m",
        "server",
        "--port=0",
        "--log-format=json",
        f"--model-repository={repository}",
    ]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as server:
        try:
            yield listening(server.stderr)
        finally:
            server.terminate()
            server.communicate()


@pytest.fixture(scope="module")
def url():
    with serving_from(ROOT / "model_repository") as url:
        yield url


def run(command, url, cwd):
    environment = {**os.environ, "ENGRAM_URL": url}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["README.md", "docs/api.md"])
def test_curl_commands_are_answered(name, url, tmp_path):
    commands = [block for block in blocks(name, "bash") if block.startswith("curl ")]
    assert commands
    for command in commands:
        output = run(["sh", "-c", command.replace("localhost:8000", url)], url, tmp_path)
        if " -o " in command:
            (file,) = tmp_path.iterdir()
            assert file.read_text().startswith("<svg")
        else:
            answer = json.loads(output)
            assert "kitchen" in [result["answer"] for result in answer.get("results", [answer])]


def test_the_readmes_python_runs(url, tmp_path):
    (program,) = blocks("README.md", "python")
    assert run([sys.executable, "-c", program], url, tmp_path).startswith("kitchen")


def test_the_protocols_python_runs(url, tmp_path):
    (program,) = blocks("docs/open-inference-protocol.md", "python")
    program = program.replace("localhost:8000", url.removeprefix("http://"))
    assert "garden" in run([sys.executable, "-c", program], url, tmp_path)


def test_the_curl_example_runs(url, tmp_path):
    assert json.loads(run([DOCS / "examples" / "ask.sh"], url, tmp_path))["answer"] == "kitchen"


def test_the_python_example_runs(url, tmp_path):
    output = run([sys.executable, DOCS / "examples" / "ask.py"], url, tmp_path)
    assert output.startswith("kitchen")
    assert "after hop 3" in output


def test_the_demo_shows_where_the_model_looked(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {
        **os.environ,
        "ENGRAM_PORT": str(port),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    output = subprocess.check_output([DOCS / "examples" / "demo.sh"], env=environment, text=True)
    assert "kitchen" in output.partition("Mary went to the hallway.")[2]


@pytest.mark.slow
def test_own_stories_become_a_model(tmp_path):
    (block,) = [block for block in blocks("docs/training.md", "bash") if "stories.jsonl" in block]
    *commands, serving = block.splitlines()
    assert serving == "python -m server --models my-stories"
    for command in commands:
        here = command.replace("runs/mine", str(tmp_path / "run"))
        if "-m export" in here:
            here += f" --repository {tmp_path / 'bundles'}"
        subprocess.run([sys.executable, *here.split()[1:]], cwd=ROOT, check=True)
    with serving_from(tmp_path / "bundles") as url:
        question = {
            "story": ["Ada walked to the attic.", "Ada took the lamp."],
            "question": "Where is Ada?",
            "model": "my-stories",
        }
        assert httpx2.post(f"{url}/v1/qa", json=question).json()["answer"] == "attic"
