import json

import pytest

from server.errors import ModelNotFound, ModelNotReady, ShuttingDown
from server.runtime.options import RuntimeOptions
from server.runtime.repository import Repository
from server.tasks.question_answering import QaRequest
from tests.server.fakes import FakeSession, rewrite, write_bundle

REQUEST = QaRequest(story=["Anna went to the garden."], question="Where is Anna?")


async def started(folder, *names):
    repository = Repository(folder, RuntimeOptions(), names, lambda *_: FakeSession())
    await repository.start()
    return repository


async def test_every_bundle_of_the_folder_is_loaded_and_other_folders_are_not(repository_folder):
    write_bundle(repository_folder / "second", default=False)
    (repository_folder / "notes").mkdir()
    repository = await started(repository_folder)
    assert [(model.name, model.state) for model in repository.models()] == [
        ("second", "ready"),
        ("tiny", "ready"),
    ]
    assert repository.is_ready()
    await repository.close()


async def test_a_request_goes_to_the_name_the_version_or_the_default(repository_folder):
    write_bundle(repository_folder / "second", default=False)
    repository = await started(repository_folder)
    assert repository.find("second", "qa", {}).name == "second"
    assert repository.find("second:1", "qa", {}).name == "second"
    assert repository.find(None, "qa", {}).name == "tiny"
    await repository.close()


async def test_the_newest_version_has_the_bare_name(repository_folder):
    write_bundle(repository_folder / "many", default=False, version=2)
    (repository_folder / "many" / "10").mkdir()
    for file in (repository_folder / "many" / "2").iterdir():
        (repository_folder / "many" / "10" / file.name).write_bytes(file.read_bytes())
    rewrite(repository_folder / "many")
    repository = await started(repository_folder, "many", "many:2")
    assert repository.find("many", "qa", {}).version == 10
    assert repository.find("many:2", "qa", {}).version == 2
    assert repository.describe("many")["versions"] == [10, 2]
    assert len(repository.describe()["models"]) == 1
    await repository.close()


async def test_only_the_models_asked_for_are_loaded(repository_folder):
    write_bundle(repository_folder / "second", default=False)
    repository = await started(repository_folder, "second", "second")
    assert [model.name for model in repository.models()] == ["second"]
    await repository.close()


async def test_an_unknown_name_lists_what_exists(repository_folder):
    repository = await started(repository_folder)
    with pytest.raises(ModelNotFound, match="no model 'big'; there are tiny") as caught:
        repository.find("big", "qa", {})
    assert caught.value.details["models"] == ["tiny"]
    for name in ("tiny:2", "tiny:", "../tiny", "", "tiny:1:1"):
        with pytest.raises(ModelNotFound):
            repository.find(name, "qa", {})
    await repository.close()


async def test_a_task_or_selector_without_a_default_says_so(repository_folder):
    repository = await started(repository_folder)
    with pytest.raises(ModelNotFound, match="default for task qa with source en") as caught:
        repository.find(None, "qa", {"source": "en"})
    assert caught.value.details["models"] == ["tiny"]
    with pytest.raises(ModelNotFound, match="there is none"):
        repository.find(None, "translate", {})
    with pytest.raises(ModelNotFound, match="tiny does not do task translate"):
        repository.find("tiny", "translate", {})
    await repository.close()


async def test_a_bad_bundle_fails_alone_with_its_reason_on_show(repository_folder):
    write_bundle(repository_folder / "altered", default=False)
    (repository_folder / "altered" / "1" / "model.onnx").write_bytes(b"other")
    write_bundle(repository_folder / "broken")
    (repository_folder / "broken" / "manifest.json").write_text("{")
    repository = await started(repository_folder)
    assert repository.is_ready()
    shown = {about["name"]: (about["state"], about["reason"]) for about in repository.describe()["models"]}
    assert shown["tiny"] == ("ready", None)
    assert shown["altered"] == ("failed", "1/model.onnx was altered: its checksum is not the manifest's")
    assert shown["broken"][0] == "failed"
    assert "Invalid JSON" in shown["broken"][1]
    assert str(repository_folder) not in json.dumps(repository.describe())
    with pytest.raises(ModelNotReady, match="altered"):
        repository.find("altered", "qa", {})
    assert repository.find(None, "qa", {}).name == "tiny"
    await repository.close()


async def test_a_model_asked_for_by_name_must_be_there(repository_folder):
    repository = await started(repository_folder, "tiny", "missing", "tiny:3")
    assert not repository.is_ready()
    reasons = {f"{model.name}:{model.version}": model.reason for model in repository.models()}
    assert reasons == {
        "tiny:1": None,
        "missing:0": "the model repository has no bundle 'missing'",
        "tiny:3": "the bundle has no version 3, it has [1]",
    }
    await repository.close()


async def test_a_bundle_without_versions_fails(repository_folder):
    for file in (repository_folder / "tiny" / "1").iterdir():
        file.unlink()
    (repository_folder / "tiny" / "1").rmdir()
    repository = await started(repository_folder)
    assert repository.models()[0].reason == "the bundle has no versions"
    with pytest.raises(ModelNotReady):
        repository.find(None, "qa", {})


@pytest.mark.parametrize("name", ["../tiny", "", ".hidden", "a/b", "tiny:latest", "tiny:0", "a" * 200])
def test_what_cannot_be_a_name_is_refused_before_a_path_is_built(tmp_path, name):
    with pytest.raises(ValueError, match="ENGRAM_MODELS"):
        Repository(tmp_path, RuntimeOptions(), [name])


async def test_two_defaults_for_the_same_are_an_error_of_the_second(repository_folder):
    write_bundle(repository_folder / "also")
    write_bundle(repository_folder / "other", selector={"source": "en"})
    repository = await started(repository_folder)
    states = {model.name: model.state for model in repository.models()}
    assert states == {"also": "ready", "other": "ready", "tiny": "failed"}
    assert "also is the default for task qa already" in repository.get("tiny").reason
    assert repository.find(None, "qa", {}).name == "also"
    assert repository.find(None, "qa", {"source": "en"}).name == "other"
    await repository.close()


async def test_a_folder_that_is_not_there_gives_no_models_and_no_readiness(tmp_path):
    repository = await started(tmp_path / "nothing")
    assert repository.models() == []
    assert not repository.is_ready()
    await repository.drain()
    await repository.close()


async def test_a_repository_is_ready_only_between_start_and_drain(repository_folder):
    repository = Repository(repository_folder, RuntimeOptions(), open_session=lambda *_: FakeSession())
    assert not repository.is_ready()
    await repository.start()
    assert repository.is_ready()
    await repository.drain()
    assert not repository.is_ready()
    with pytest.raises(ShuttingDown):
        await repository.find(None, "qa", {}).answer(REQUEST, None)
    await repository.close()
    with pytest.raises(ModelNotReady, match="unloaded"):
        repository.find(None, "qa", {})


async def test_a_part_of_a_selector_is_enough_where_one_default_fits(repository_folder):
    for name, purpose in (("hull", {"task": "hull", "base": 2}), ("tour", {"task": "tour", "base": 2})):
        write_bundle(repository_folder / name, default=True, selector=purpose)
    repository = await started(repository_folder, "hull", "tour")
    assert repository.find(None, "qa", {"task": "tour"}).name == "tour"
    with pytest.raises(ModelNotFound, match="with base 2 has several models") as caught:
        repository.find(None, "qa", {"base": 2})
    assert "defaults with base 2, task hull and with base 2, task tour" in caught.value.message
    with pytest.raises(ModelNotFound, match="no model is the default for task qa with task knot; there are"):
        repository.find(None, "qa", {"task": "knot"})
    await repository.close()
