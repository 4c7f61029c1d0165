"""Every public method of tritonclient's four clients, against a server process."""

import asyncio
import queue

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from tests.server.fakes import ANSWERS, HOPS, arithmetic
from tests.server.open_inference.clients import MODULES, Client

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # tritonclient's own

LOCAL = {"close", "plugin", "register_plugin", "unregister_plugin"}
"""Methods that never reach a server."""

TESTED = {
    "is_server_live",
    "is_server_ready",
    "is_model_ready",
    "get_server_metadata",
    "get_model_metadata",
    "get_model_config",
    "get_inference_statistics",
    "get_model_repository_index",
    "load_model",
    "unload_model",
    "get_log_settings",
    "update_log_settings",
    "get_trace_settings",
    "update_trace_settings",
    "get_system_shared_memory_status",
    "register_system_shared_memory",
    "unregister_system_shared_memory",
    "get_cuda_shared_memory_status",
    "register_cuda_shared_memory",
    "unregister_cuda_shared_memory",
    "infer",
    "async_infer",
    "async_stream_infer",
    "start_stream",
    "stop_stream",
    "stream_infer",
    "generate_request_body",
    "parse_response_body",
}


@pytest.mark.parametrize("kind", MODULES)
def test_no_public_method_is_forgotten(kind):
    methods = {name for name in dir(MODULES[kind].InferenceServerClient) if not name.startswith("_")}
    assert methods <= TESTED | LOCAL


# What the server tells about itself


async def test_health(client):
    assert await client("is_server_live")
    assert await client("is_server_ready")
    assert await client("is_model_ready", "tiny")
    assert await client("is_model_ready", "tiny", "1")
    assert await client("is_model_ready", "tiny.text")
    assert not await client("is_model_ready", "tiny", "9")
    assert not await client("is_model_ready", "nobody")


async def test_server_metadata(client):
    about = await client.tell("get_server_metadata")
    assert about["name"] == "engram"
    assert {"binary_tensor_data", "classification", "statistics"} <= set(about["extensions"])


async def test_model_metadata(client):
    about = await client.tell("get_model_metadata", "tiny")
    assert (about["name"], about["platform"], about["versions"]) == ("tiny", "onnxruntime_onnx", ["1"])
    assert shapes(about["inputs"]) == {
        "story_tokens": ("INT64", [-1, -1, -1]),
        "question_tokens": ("INT64", [-1, -1]),
    }
    assert shapes(about["outputs"])["attention"] == ("FP32", [-1, HOPS, -1])


async def test_model_config_leaves_the_batch_axis_out(client):
    config = await client.tell("get_model_config", "tiny", "1")
    config = config.get("config", config)
    assert (config["name"], config["max_batch_size"]) == ("tiny", 32)
    assert {entry["name"]: list(map(int, entry["dims"])) for entry in config["input"]} == {
        "story_tokens": [-1, -1],
        "question_tokens": [-1],
    }
    assert config["input"][0]["data_type"] == "TYPE_INT64"


async def test_unknown_models_are_named_in_the_refusal(client):
    for method in ("get_model_metadata", "get_model_config", "get_inference_statistics"):
        with pytest.raises(InferenceServerException, match="there are tiny") as failure:
            await client.tell(method, "nobody")
        assert failure.value.status() in ("404", "StatusCode.NOT_FOUND")


async def test_statistics_count_every_request(client, arrays):
    before = await counts(client)
    await client("infer", "tiny", client.inputs(arrays))
    with pytest.raises(InferenceServerException):
        await client("infer", "tiny", client.inputs(arrays | {"story_tokens": arrays["story_tokens"] + 90}))
    after = await counts(client)
    assert {name: after[name] - before[name] for name in after} == {"success": 1, "fail": 1, "rows": 2}
    everything = await client.tell("get_inference_statistics")
    assert [entry["name"] for entry in everything["model_stats"]] == ["tiny"]


async def counts(client):
    [about] = (await client.tell("get_inference_statistics", "tiny", "1"))["model_stats"]
    counted = {what: int(about["inference_stats"][what].get("count", 0)) for what in ("success", "fail")}
    return counted | {"rows": int(about.get("inference_count", 0))}


async def test_repository_index(client):
    index = await client.tell("get_model_repository_index")
    entries = index.get("models", []) if client.speaks_grpc else index
    assert {(entry["name"], entry["version"], entry["state"]) for entry in entries} == {
        ("tiny", "1", "READY"),
        ("tiny.text", "1", "READY"),
    }


async def test_loading_is_off_without_an_admin_key(client):
    for method in ("load_model", "unload_model"):
        with pytest.raises(InferenceServerException, match="administration is off") as failure:
            await client(method, "tiny")
        assert failure.value.status() in ("403", "StatusCode.PERMISSION_DENIED")


async def test_log_and_trace_settings_can_be_read_and_not_changed(client):
    assert "log_info" in str(await client.tell("get_log_settings"))
    assert "trace_level" in str(await client.tell("get_trace_settings"))
    assert "trace_level" in str(await client.tell("get_trace_settings", "tiny"))
    for method, settings in (
        ("update_log_settings", {"log_verbose_level": 1}),
        ("update_trace_settings", {"trace_rate": "1"}),
    ):
        with pytest.raises(InferenceServerException, match="set when the server starts"):
            await client(method, settings=settings)


async def test_shared_memory_is_refused_in_plain_words(client):
    for kind, region in (
        ("system", {"name": "r", "key": "/r", "byte_size": 8}),
        ("cuda", {"name": "r", "raw_handle": b"", "device_id": 0, "byte_size": 8}),
    ):
        assert not (await client.tell(f"get_{kind}_shared_memory_status"))
        await client(f"unregister_{kind}_shared_memory")
        with pytest.raises(InferenceServerException, match="shared memory is not supported"):
            await client(f"register_{kind}_shared_memory", **region)
    tensor = client.module.InferInput("story_tokens", [1, 1, 1], "INT64")
    tensor.set_shared_memory("r", 8)
    with pytest.raises(InferenceServerException, match="shared memory are not supported"):
        await client("infer", "tiny", [tensor])


def shapes(entries):
    return {entry["name"]: (entry["datatype"], list(map(int, entry["shape"]))) for entry in entries}


# Inference


def check(result, arrays, outputs=("answer_probabilities", "hop_probabilities", "attention")):
    expected = arithmetic(**arrays)
    for name in outputs:
        np.testing.assert_allclose(result.as_numpy(name), expected[name], rtol=1e-6)


async def test_default_inference(client, arrays):
    result = await client("infer", "tiny", client.inputs(arrays))
    check(result, arrays)
    assert result.as_numpy("attention").dtype == np.float32


async def test_request_id_and_version_come_back(client, arrays):
    result = await client(
        "infer",
        "tiny",
        client.inputs(arrays),
        model_version="1",
        request_id="7",
        parameters={"colour": "red"},
    )
    reply = result.get_response(**({"as_json": True} if client.speaks_grpc else {}))
    assert (reply["model_name"], reply["model_version"], reply["id"]) == ("tiny", "1", "7")


async def test_only_the_wanted_outputs_come_back(client, arrays):
    result = await client("infer", "tiny", client.inputs(arrays), outputs=client.outputs("attention"))
    check(result, arrays, ["attention"])
    assert result.get_output("answer_probabilities") is None


async def test_classes_are_named(client, arrays):
    wanted = client.outputs("answer_probabilities", class_count=2)
    result = await client("infer", "tiny", client.inputs(arrays), outputs=wanted)
    expected = [
        [f"{row[place]:f}:{place}:{ANSWERS[place]}".encode() for place in np.argsort(-row)[:2]]
        for row in arithmetic(**arrays)["answer_probabilities"]
    ]
    assert result.as_numpy("answer_probabilities").tolist() == expected


async def test_deadline_is_kept(client, arrays):
    with pytest.raises(InferenceServerException, match="deadline") as failure:
        await client("infer", "tiny", client.inputs(arrays), timeout=1)
    assert failure.value.status() in ("504", "StatusCode.DEADLINE_EXCEEDED")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"story_tokens": None}, "'story_tokens' is missing"),
        ({"facts": np.zeros((1, 1), np.int64)}, "no input 'facts'"),
        ({"story_tokens": np.ones((2, 5, 3), np.int32)}, "is INT32, expected INT64"),
        ({"story_tokens": np.ones((2, 15), np.int64)}, "has 2 axes"),
        ({"story_tokens": np.ones((2, 8, 3), np.int64)}, "axis 'facts' is 8, this model takes 7"),
        ({"story_tokens": np.ones((2, 0, 3), np.int64)}, "axis 'facts' is 0"),
        ({"story_tokens": np.full((2, 5, 3), -1)}, "token id -1"),
        ({"story_tokens": np.ones((3, 5, 3), np.int64)}, "different numbers of rows"),
    ],
)
async def test_wrong_inputs_are_refused_in_plain_words(client, arrays, change, problem):
    wrong = {name: array for name, array in (arrays | change).items() if array is not None}
    with pytest.raises(InferenceServerException, match=problem) as failure:
        await client("infer", "tiny", client.inputs(wrong))
    assert failure.value.status() in ("400", "StatusCode.INVALID_ARGUMENT")


async def test_unknown_outputs_are_refused(client, arrays):
    with pytest.raises(InferenceServerException, match="no output 'gates'"):
        await client("infer", "tiny", client.inputs(arrays), outputs=client.outputs("gates"))


@pytest.mark.parametrize("kind", ["http.aio", "grpc.aio"])
async def test_many_requests_at_once(kind, address, arrays):
    async with Client(kind, address) as client:
        calls = [client("infer", "tiny", client.inputs(arrays)) for _ in range(20)]
        for result in await asyncio.gather(*calls):
            check(result, arrays)


def test_many_requests_by_callback(address, arrays):
    client, done = Client("grpc", address), queue.SimpleQueue()
    for _ in range(20):
        client.raw.async_infer("tiny", client.inputs(arrays), lambda result, error: done.put(result))
    for _ in range(20):
        check(done.get(timeout=20), arrays)
    client.raw.close()


def test_many_requests_by_handle(address, arrays):
    client = Client("http", address, concurrency=4)
    handles = [client.raw.async_infer("tiny", client.inputs(arrays)) for _ in range(20)]
    for handle in handles:
        check(handle.get_result(), arrays)
    client.raw.close()


@pytest.mark.parametrize("sent", [True, False], ids=["bytes", "json"])
@pytest.mark.parametrize("wanted", [True, False], ids=["bytes", "json"])
async def test_http_takes_and_gives_bytes_and_json(over_http, arrays, sent, wanted):
    result = await over_http(
        "infer",
        "tiny",
        over_http.inputs(arrays, binary=sent),
        outputs=over_http.outputs("attention", binary=wanted),
    )
    check(result, arrays, ["attention"])
    assert ("data" in result.get_output("attention")) is not wanted


async def test_nan_never_leaves_in_json(over_http):
    nothing = {"story_tokens": np.zeros((1, 2, 2), np.int64), "question_tokens": np.ones((1, 1), np.int64)}
    result = await over_http("infer", "tiny", over_http.inputs(nothing))
    assert np.isnan(result.as_numpy("attention")).all()
    wanted = over_http.outputs("attention", binary=False)
    with pytest.raises(InferenceServerException, match="ask for it with binary_data") as failure:
        await over_http("infer", "tiny", over_http.inputs(nothing), outputs=wanted)
    assert failure.value.status() == "400"


@pytest.mark.parametrize("sent", ["gzip", "deflate", None])
@pytest.mark.parametrize("wanted", ["gzip", "deflate", None])
async def test_http_takes_and_gives_compressed_bodies(over_http, sent, wanted):
    story = np.ones((32, 7, 6), np.int64)
    many = {"story_tokens": story, "question_tokens": np.ones((32, 1), np.int64)}
    result = await over_http(
        "infer",
        "tiny",
        over_http.inputs(many),
        request_compression_algorithm=sent,
        response_compression_algorithm=wanted,
    )
    check(result, many)


async def test_http_bodies_can_be_made_and_read_apart(over_http, arrays):
    body, length = over_http.module.InferenceServerClient.generate_request_body(over_http.inputs(arrays))
    assert 0 < length < len(body)
    parse = over_http.module.InferenceServerClient.parse_response_body
    assert parse(b'{"outputs": []}').as_numpy("attention") is None


@pytest.mark.parametrize("compression", ["gzip", "deflate", None])
async def test_grpc_takes_compressed_calls(over_grpc, arrays, compression):
    result = await over_grpc("infer", "tiny", over_grpc.inputs(arrays), compression_algorithm=compression)
    check(result, arrays)


async def test_streams_answer_in_order_and_survive_a_bad_request(address, arrays):
    answers = queue.SimpleQueue()
    wrong = arrays | {"story_tokens": arrays["story_tokens"] + 90}
    async with Client("grpc", address) as client:
        client.raw.start_stream(lambda result, error: answers.put((result, error)))
        for place, sent in enumerate((arrays, wrong, arrays)):
            client.raw.async_stream_infer(
                "tiny", client.inputs(sent), request_id=str(place), enable_empty_final_response=True
            )
        first, second, third = (answers.get(timeout=20) for _ in range(3))
        client.raw.stop_stream()
    check(first[0], arrays)
    assert "token id" in second[1].message()
    assert third[0].get_response().id == "2"
    assert third[0].get_response().parameters["triton_final_response"].bool_param


async def test_aio_streams_answer_in_order(address, arrays):
    async def requests(client):
        for place in range(40):
            yield {"model_name": "tiny", "inputs": client.inputs(arrays), "request_id": str(place)}

    async with Client("grpc.aio", address) as client:
        answers = [answer async for answer in client.raw.stream_infer(requests(client))]
    assert [result.get_response().id for result, _ in answers] == [str(place) for place in range(40)]
    assert all(error is None for _, error in answers)
    check(answers[-1][0], arrays)


# Words instead of tensors

STORY = ["Anna took the milk.", "Ben went to the garden.", "Anna went to the kitchen."]


def words(*texts):
    return np.array([text.encode() for text in texts], dtype=object)


async def test_words_are_answered_as_the_task_answers_them(client):
    arrays = {"story": words(*STORY), "question": words("Where is the milk?")}
    result = await client("infer", "tiny.text", client.inputs(arrays))
    [answer], [score] = result.as_numpy("answer"), result.as_numpy("score")
    attention = result.as_numpy("attention")
    assert answer.decode() in ANSWERS
    assert 0 < score <= 1
    assert attention.shape == (HOPS, 3)
    np.testing.assert_allclose(attention.sum(-1), 1, rtol=1e-5)


async def test_stories_of_a_batch_are_padded_by_empty_facts(client):
    stories = np.stack([words(*STORY), words(STORY[0], "", "")])
    arrays = {"story": stories, "question": words("Where is Anna?", "Where is Ben?")[:, None]}
    result = await client("infer", "tiny.text", client.inputs(arrays))
    assert result.as_numpy("answer").shape == result.as_numpy("score").shape == (2, 1)
    attention = result.as_numpy("attention")
    assert attention.shape == (2, HOPS, 3)
    np.testing.assert_array_equal(attention[1, :, 1:], 0)


async def test_unknown_words_are_refused_or_mapped(client):
    arrays = {"story": words(*STORY), "question": words("Where is the unicorn?")}
    with pytest.raises(InferenceServerException, match="does not know 'unicorn'"):
        await client("infer", "tiny.text", client.inputs(arrays))
    result = await client("infer", "tiny.text", client.inputs(arrays), parameters={"unknown_words": "map"})
    assert "unicorn" in str(result.get_response())


async def test_long_stories_are_cut_when_asked(client):
    arrays = {"story": words(*STORY * 3), "question": words("Where is Anna?")}
    with pytest.raises(InferenceServerException, match="story has 9 facts"):
        await client("infer", "tiny.text", client.inputs(arrays))
    result = await client("infer", "tiny.text", client.inputs(arrays), parameters={"truncate": "oldest"})
    attention = result.as_numpy("attention")
    np.testing.assert_array_equal(attention[:, :2], 0)
    np.testing.assert_allclose(attention.sum(-1), 1, rtol=1e-5)


async def test_text_models_are_described(client):
    about = await client.tell("get_model_metadata", "tiny.text")
    assert shapes(about["inputs"]) == {"story": ("BYTES", [-1, -1]), "question": ("BYTES", [-1, 1])}
    assert set(shapes(about["outputs"])) == {"answer", "score", "attention"}
    arrays = {"story": words(*STORY), "question": words("Where is Anna?")}
    with pytest.raises(InferenceServerException, match="parameter truncate"):
        await client("infer", "tiny.text", client.inputs(arrays), parameters={"truncate": "newest"})
