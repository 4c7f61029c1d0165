"""Bundles come, change and go on disk; the repository follows, once they are whole."""

import asyncio
import os
import shutil

import pytest

from server.runtime.options import RuntimeOptions
from server.runtime.repository import Repository
from server.runtime.watch import Watch
from tests.server.fakes import FakeSession, rewrite, until, write_bundle


@pytest.fixture
async def watched(repository_folder):
    """A started repository and its watch, which looks when told to."""
    started = []

    async def start(*names):
        repository = Repository(
            repository_folder, RuntimeOptions(warm_up=False), names, lambda *_: FakeSession()
        )
        await repository.start()
        watch = Watch(repository, 3600)
        running = asyncio.create_task(watch.run())
        started.append((repository, running))
        await until(lambda: watch._last)
        return repository, watch

    yield start
    for repository, running in started:
        running.cancel()
        await repository.close()


async def look_twice(watch):
    await watch.look()
    await watch.look()


def states(repository):
    return {f"{model.name}:{model.version}": model.state for model in repository.models()}


async def test_a_new_bundle_is_loaded_and_one_that_went_is_unloaded(watched, repository_folder):
    repository, watch = await watched()
    write_bundle(repository_folder / "second", default=False)
    await look_twice(watch)
    assert states(repository) == {"second:1": "ready", "tiny:1": "ready"}
    shutil.rmtree(repository_folder / "second")
    await watch.look()
    assert states(repository)["second:1"] == "ready"  # it may be on its way back
    await watch.look()
    assert states(repository) == {"second:1": "unloaded", "tiny:1": "ready"}
    write_bundle(repository_folder / "second", default=False)
    await look_twice(watch)
    assert states(repository)["second:1"] == "ready"


async def test_a_changed_bundle_replaces_the_old_one(watched, repository_folder):
    repository, watch = await watched("tiny")
    old = repository.get("tiny")
    await look_twice(watch)
    assert repository.get("tiny") is old
    rewrite(repository_folder / "tiny", description="Better.")
    await look_twice(watch)
    assert repository.get("tiny") is not old
    assert repository.describe("tiny")["description"] == "Better."


async def test_half_of_a_bundle_is_left_alone_until_it_is_whole(watched, repository_folder):
    repository, watch = await watched()
    whole = (repository_folder / "tiny" / "1" / "model.onnx").read_bytes()
    late = write_bundle(repository_folder / "late", default=False)
    (late / "1" / "model.onnx").write_bytes(whole[:100])
    await look_twice(watch)
    await watch.look()
    assert states(repository) == {"tiny:1": "ready"}
    (late / "1" / "model.onnx").write_bytes(whole)
    await watch.look()
    assert states(repository) == {"tiny:1": "ready"}  # it has only just changed
    await watch.look()
    assert states(repository) == {"late:1": "ready", "tiny:1": "ready"}


async def test_a_damaged_bundle_leaves_the_old_one_serving(watched, repository_folder):
    repository, watch = await watched()
    (repository_folder / "tiny" / "1" / "model.onnx").write_bytes(b"half")
    await look_twice(watch)
    assert repository.get("tiny").state == "ready"
    assert repository.is_ready()


async def test_a_folder_renamed_into_place_is_seen_whole(watched, repository_folder, tmp_path):
    repository, watch = await watched()
    fresh = write_bundle(tmp_path / "elsewhere" / "tiny", description="Fresh.")
    old = repository_folder / "tiny"
    old.rename(tmp_path / "old")
    fresh.rename(old)
    await look_twice(watch)
    assert repository.describe("tiny")["description"] == "Fresh."
    assert repository.get("tiny").state == "ready"


async def test_only_what_was_asked_for_is_followed(watched, repository_folder):
    repository, watch = await watched("tiny")
    write_bundle(repository_folder / "second", default=False)
    await look_twice(watch)
    assert states(repository) == {"tiny:1": "ready"}


async def test_a_bundle_that_failed_at_the_start_is_tried_again(watched, repository_folder):
    write_bundle(repository_folder / "late", default=False)
    model = repository_folder / "late" / "1" / "model.onnx"
    whole = model.read_bytes()
    model.write_bytes(b"half")
    repository, watch = await watched()
    assert states(repository)["late:1"] == "failed"
    model.write_bytes(whole)
    os.utime(model, ns=(1, 1))
    await look_twice(watch)
    assert states(repository)["late:1"] == "ready"


async def test_an_unloaded_model_comes_back_when_its_files_change(watched, repository_folder):
    repository, watch = await watched()
    await repository.unload("tiny")
    await look_twice(watch)
    assert states(repository) == {"tiny:1": "unloaded"}
    rewrite(repository_folder / "tiny", description="Better.")
    await look_twice(watch)
    assert states(repository) == {"tiny:1": "ready"}


async def test_a_repository_that_is_away_for_a_moment_takes_no_model_with_it(
    watched, repository_folder, tmp_path
):
    repository, watch = await watched()
    repository_folder.rename(tmp_path / "away")
    for _ in range(3):
        with pytest.raises(OSError, match="No such file"):
            await watch.look()
    (tmp_path / "away").rename(repository_folder)
    await look_twice(watch)
    assert states(repository) == {"tiny:1": "ready"}
