"""Models come, go and are replaced while requests run; none of them is lost."""

import asyncio
import json

import pytest

from server.errors import ModelNotFound, ModelNotReady, ShuttingDown
from server.runtime.options import RuntimeOptions
from server.runtime.repository import Repository
from server.tasks.question_answering import QaRequest
from tests.server.fakes import FakeSession, hashes, rewrite, until, write_bundle

REQUEST = QaRequest(story=["Anna went to the garden."], question="Where is Anna?")
OPTIONS = RuntimeOptions(warm_up=False)


class Sessions:
    """Opens fake sessions and remembers them; ``gate`` holds back the opening."""

    def __init__(self):
        self.opened = []
        self.broken = False

    def __call__(self, bundle, runtime, device):
        session = FakeSession()
        if self.broken:
            session.run = lambda inputs, outputs: {}
        self.opened.append(session)
        return session


@pytest.fixture
def sessions():
    return Sessions()


@pytest.fixture
async def serve(repository_folder, sessions):
    started = []

    async def start(*names):
        repository = Repository(repository_folder, OPTIONS, names, sessions)
        started.append(repository)
        await repository.start()
        return repository

    yield start
    for session in sessions.opened:
        session.gate.set()
    for repository in started:
        await repository.close()
    assert all(session.closed for session in sessions.opened)


def add_version(folder, version):
    (folder / str(version)).mkdir()
    for file in (folder / "1").iterdir():
        (folder / str(version) / file.name).write_bytes(file.read_bytes())
    rewrite(folder)


def states(repository):
    return {f"{model.name}:{model.version}": model.state for model in repository.models()}


async def ask(repository, name=None):
    return await repository.find(name, "qa", {}).answer(REQUEST, None)


async def closing(session):
    await until(lambda: session.closed)


async def test_a_new_bundle_is_loaded_beside_the_others(serve, repository_folder):
    repository = await serve()
    write_bundle(repository_folder / "second", default=False)
    await repository.load("second")
    assert states(repository) == {"second:1": "ready", "tiny:1": "ready"}
    assert repository.find(None, "qa", {}).name == "tiny"


async def test_a_bare_name_follows_the_newest_version_which_replaces_the_last(
    serve, repository_folder, sessions
):
    repository = await serve()
    add_version(repository_folder / "tiny", 2)
    await repository.load("tiny")
    assert states(repository) == {"tiny:2": "ready"}
    await closing(sessions.opened[0])
    assert repository.find(None, "qa", {}).version == 2


async def test_a_version_loaded_by_its_number_stays_beside_the_newest(serve, repository_folder):
    repository = await serve()
    add_version(repository_folder / "tiny", 2)
    await repository.load("tiny", 1)
    await repository.load("tiny")
    assert states(repository) == {"tiny:2": "ready", "tiny:1": "ready"}
    assert repository.find("tiny", "qa", {}).version == 2
    assert repository.find("tiny:1", "qa", {}).version == 1
    await repository.unload("tiny", 2)
    assert repository.find("tiny", "qa", {}).version == 1
    assert repository.find(None, "qa", {}).version == 1


async def test_replacing_answers_every_request_with_the_old_or_the_new(serve, sessions):
    repository = await serve()
    answered = []
    stop = False

    async def keep_asking():
        while not stop:
            answered.append(await ask(repository))

    clients = [asyncio.create_task(keep_asking()) for _ in range(8)]
    for _ in range(5):
        enough = len(answered) + 20
        await repository.load("tiny")
        await until(lambda enough=enough: len(answered) >= enough)
    stop = True
    await asyncio.gather(*clients)
    assert len(answered) >= 100
    for session in sessions.opened[:-1]:
        await closing(session)
    assert not sessions.opened[-1].closed


async def test_what_runs_in_the_old_model_is_answered_after_the_swap(serve, sessions):
    repository = await serve()
    [old] = sessions.opened
    while old.started.acquire(blocking=False):
        pass
    old.gate.clear()
    running = asyncio.create_task(ask(repository))
    await old.has_started()
    waiting = asyncio.create_task(ask(repository))
    await asyncio.sleep(0)
    await repository.load("tiny")
    await ask(repository)
    assert not running.done()
    assert not old.closed
    old.gate.set()
    await asyncio.gather(running, waiting)
    await closing(old)


async def test_a_request_that_found_the_old_model_may_still_begin(serve):
    repository = await serve()
    old = repository.find(None, "qa", {})
    await repository.load("tiny")
    assert repository.find(None, "qa", {}) is not old
    await old.answer(REQUEST, None)


@pytest.mark.parametrize("damage", ["hash", "answers", "default"])
async def test_a_failed_load_leaves_the_old_one_serving_and_tells_why(
    serve, repository_folder, sessions, damage
):
    write_bundle(repository_folder / "other", default=False)
    repository = await serve()
    add_version(repository_folder / "tiny", 2)
    name, reason = "tiny", "2/model.onnx was altered"
    match damage:
        case "hash":
            (repository_folder / "tiny" / "2" / "model.onnx").write_bytes(b"half")
        case "answers":
            sessions.broken, reason = True, "unexpected error"
        case "default":
            rewrite(repository_folder / "other", default=True)
            name, reason = "other", "tiny is the default for task qa already"
    with pytest.raises(ModelNotReady, match=reason):
        await repository.load(name)
    assert states(repository) == {"other:1": "ready", "tiny:1": "ready"}
    assert reason in repository.get(name).reason
    assert repository.is_ready()
    await ask(repository, name)
    assert str(repository_folder) not in json.dumps(repository.describe())


async def test_a_bundle_that_never_served_fails_with_its_reason_on_show_and_can_be_mended(
    serve, repository_folder
):
    repository = await serve()
    late = write_bundle(repository_folder / "late", default=False)
    (late / "1" / "model.onnx").write_bytes(b"half")
    with pytest.raises(ModelNotReady, match="altered"):
        await repository.load("late")
    assert states(repository) == {"late:1": "failed", "tiny:1": "ready"}
    assert repository.is_ready()
    (late / "manifest.json").write_text(
        json.dumps(json.loads((late / "manifest.json").read_text()) | {"files": hashes(late)})
    )
    await repository.load("late")
    assert repository.get("late").state == "ready"
    assert repository.get("late").reason is None


@pytest.mark.parametrize(
    "name", ["missing", "tiny:7", "../tiny", "", ".hidden", "a/b", "tiny:0", "tiny:latest", "a" * 200]
)
async def test_what_is_not_on_disk_or_no_name_at_all_is_not_found(serve, name):
    repository = await serve()
    with pytest.raises(ModelNotFound):
        await repository.load(name)
    with pytest.raises(ModelNotFound):
        await repository.unload(name)
    assert states(repository) == {"tiny:1": "ready"}


async def test_an_unloaded_model_says_so_and_can_come_back(serve, sessions):
    repository = await serve("tiny")
    await repository.unload("tiny")
    with pytest.raises(ModelNotReady, match="tiny:1 is unloaded"):
        repository.find("tiny", "qa", {})
    with pytest.raises(ModelNotFound, match="default"):
        repository.find(None, "qa", {})
    assert repository.describe("tiny")["state"] == "unloaded"
    assert repository.describe("tiny")["limits"]
    await closing(sessions.opened[0])
    await repository.unload("tiny")
    await repository.load("tiny")
    await ask(repository)
    assert states(repository) == {"tiny:1": "ready"}


async def test_unloading_answers_what_was_accepted(serve, sessions):
    repository = await serve()
    [session] = sessions.opened
    while session.started.acquire(blocking=False):
        pass
    session.gate.clear()
    running = asyncio.create_task(ask(repository))
    await session.has_started()
    waiting = asyncio.create_task(ask(repository))
    await asyncio.sleep(0)
    await repository.unload("tiny")
    session.gate.set()
    await asyncio.gather(running, waiting)


async def test_a_server_stays_ready_when_models_are_unloaded_on_request(serve, repository_folder):
    write_bundle(repository_folder / "second", default=False)
    repository = await serve("second", "tiny")
    await repository.unload("second")
    assert repository.is_ready()
    await repository.unload("tiny")
    assert repository.is_ready()


async def test_another_model_can_become_the_default_once_the_first_is_unloaded(serve, repository_folder):
    repository = await serve()
    write_bundle(repository_folder / "another")
    with pytest.raises(ModelNotReady, match="default"):
        await repository.load("another")
    await repository.unload("tiny")
    await repository.load("another")
    assert repository.find(None, "qa", {}).name == "another"


async def test_changes_of_one_name_wait_for_each_other(serve):
    repository = await serve()
    changes = [repository.load("tiny"), repository.unload("tiny"), repository.load("tiny")]
    await asyncio.gather(*changes)
    assert states(repository) == {"tiny:1": "ready"}
    await asyncio.gather(repository.load("tiny"), repository.unload("tiny"))
    assert states(repository) == {"tiny:1": "unloaded"}


async def test_a_caller_that_leaves_does_not_stop_the_change(serve, repository_folder):
    repository = await serve()
    write_bundle(repository_folder / "second", default=False)
    loading = asyncio.create_task(repository.load("second"))
    await asyncio.sleep(0)
    loading.cancel()
    await until(lambda: states(repository).get("second:1") == "ready")


async def test_counts_go_on_through_reload_and_unload(serve):
    repository = await serve()
    await ask(repository)
    await repository.load("tiny")
    await ask(repository)
    await repository.unload("tiny")
    await repository.load("tiny")
    await ask(repository)
    assert repository.get("tiny").statistics.success.count == 3


async def test_a_draining_server_loads_nothing(serve):
    repository = await serve()
    await repository.drain()
    with pytest.raises(ShuttingDown):
        await repository.load("tiny")


async def test_changes_are_spread_where_several_processes_serve(serve):
    repository = await serve()
    told = []

    async def spread(verb, reference):
        told.append((verb, reference))

    repository.spread = spread
    await repository.load("tiny", 2)
    await repository.unload("tiny")
    with pytest.raises(ModelNotFound):
        await repository.load("../tiny")
    assert told == [("load", "tiny:2"), ("unload", "tiny")]
    assert states(repository) == {"tiny:1": "ready"}
    repository.spread = None


async def test_a_server_without_a_living_executor_is_not_ready_until_there_is_one(serve, sessions):
    repository = await serve()
    [session] = sessions.opened
    session.run = lambda inputs, outputs: (_ for _ in ()).throw(SystemExit)
    with pytest.raises(Exception, match="lost"):
        await ask(repository)
    assert not repository.is_ready()
    await until(repository.is_ready)
    await ask(repository)
    assert len(sessions.opened) == 2
