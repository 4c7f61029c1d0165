"""What holds for the repository itself: locks, images, bundles and make commands."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = {path.stem: path.read_text().split() for path in (ROOT / "requirements").glob("*.txt")}
TORCH_FREE = ("serve", "gpu", "torch-free")
MEGABYTE = 10**6


def size_bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def bundles():
    return [manifest.parent for manifest in (ROOT / "model_repository").glob("*/manifest.json")]


# Locks


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_pinned_names_and_nothing_else(name):
    assert [line for line in LOCKS[name] if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line)] == []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_answers_its_requirements(name):
    pending, wanted = [ROOT / "requirements" / f"{name}.in"], set()
    while pending:
        for line in pending.pop().read_text().splitlines():
            if line.startswith("-r "):
                pending.append(ROOT / "requirements" / line[3:])
            elif line and not line.startswith("#"):
                wanted.add(re.sub(r"\[.*\]", "", line))
    pinned = set(LOCKS[name]) | {line.partition("==")[0] for line in LOCKS[name]}
    assert wanted <= pinned


@pytest.mark.parametrize("name", sorted(LOCKS.keys() - {"dev", "gpu"}))
def test_every_lock_is_part_of_the_development_lock(name):
    assert set(LOCKS[name]) <= set(LOCKS["dev"])


def test_the_gpu_lock_differs_from_the_serving_lock_by_the_runtime_alone():
    def plain(lock):
        return {line.replace("onnxruntime-gpu", "onnxruntime") for line in lock}

    assert plain(LOCKS["gpu"]) == plain(LOCKS["serve"])
    assert set(LOCKS["gpu"]) != set(LOCKS["serve"])


@pytest.mark.parametrize("name", TORCH_FREE)
def test_serving_needs_no_torch(name):
    assert not [line for line in LOCKS[name] if line.startswith("torch")]


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_brings_cuda_packages(name):
    assert not [line for line in LOCKS[name] if line.startswith(("nvidia", "cuda", "triton=="))]


# Bundles


def test_bundles_stay_small():
    sizes = {bundle.name: size_bytes(bundle) for bundle in bundles()}
    assert {name: size for name, size in sizes.items() if size > 20 * MEGABYTE} == {}
    assert sum(sizes.values()) <= 45 * MEGABYTE


def test_a_bundle_sits_in_the_folder_of_its_name():
    named = {bundle.name: json.loads((bundle / "manifest.json").read_text())["name"] for bundle in bundles()}
    assert named == {folder: folder for folder in named}


# Images


def stages():
    """Return the Dockerfile as ``{stage: [(instruction, argument), ...]}``, its FROM first."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M))
    found = {}
    for line in filter(None, text.splitlines()):
        instruction, _, argument = line.strip().partition(" ")
        if instruction == "FROM":
            base, _, name = argument.partition(" AS ")
            found[name] = [("FROM", base)]
        else:
            found[name].append((instruction, argument))
    return found


def arguments(stage, instruction):
    return [argument for name, argument in stages()[stage] if name == instruction]


def everything_in(stage):
    """Return the instructions of a stage and of every stage it starts from or copies from."""
    copied = re.findall(r"--from=(\S+)", " ".join(arguments(stage, "COPY")))
    inherited = [base for base in (*arguments(stage, "FROM"), *copied) if base in stages()]
    return stages()[stage] + [line for name in inherited for line in everything_in(name)]


@pytest.mark.parametrize("stage", ["cpu", "gpu"])
class TestServingImage:
    def test_runs_as_a_plain_user(self, stage):
        assert arguments(stage, "USER") == ["10001:10001"]

    def test_reports_whether_it_is_ready(self, stage):
        (check,) = arguments(stage, "HEALTHCHECK")
        command = json.loads(check.partition("CMD ")[2])
        assert "/health/ready" in command[-1]
        compile(command[-1], "healthcheck", "exec")

    def test_starts_without_a_shell(self, stage):
        (entry,) = arguments(stage, "ENTRYPOINT")
        assert json.loads(entry) == ["python", "-m", "server"]

    def test_installs_a_torch_free_lock_and_copies_the_server_alone(self, stage):
        sources = {
            argument.split()[0]
            for instruction, argument in everything_in(stage)
            if instruction == "COPY" and not argument.startswith("--from")
        }
        lock = {"cpu": "requirements/serve.txt", "gpu": "requirements/gpu.txt"}[stage]
        assert sources == {"server", "model_repository", "LICENSE", lock}
        assert "torch" not in " ".join(argument for _, argument in everything_in(stage))

    def test_copies_only_what_exists_and_enters_the_build(self, stage):
        ignored = (ROOT / ".dockerignore").read_text().split()
        for instruction, argument in everything_in(stage):
            if instruction == "COPY" and not argument.startswith("--from"):
                assert (ROOT / argument.split()[0]).exists()
                assert "!" + argument.split()[0] in ignored

    def test_starts_from_a_pinned_tag(self, stage):
        bases = [argument for name, argument in everything_in(stage) if name == "FROM"]
        outside = [base for base in bases if base not in stages()]
        assert outside
        assert all(re.search(r":[a-z]*\d+\.\d+\.\d+-", base) for base in outside)


# Commands


def make_targets():
    """Return the commands of the Makefile with their help sentences."""
    return dict(re.findall(r"^([a-z-]+):.*?## (.+)$", (ROOT / "Makefile").read_text(), flags=re.M))


def test_make_help_lists_every_command():
    (phony,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), flags=re.M)
    assert set(phony.split()) == set(make_targets())


def test_documents_name_only_make_commands_that_exist():
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.*")]:
        named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", path.read_text(), flags=re.M))
        assert named <= make_targets().keys(), path.name


def test_ci_can_be_started():
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
