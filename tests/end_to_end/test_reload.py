"""Models are replaced on disk and by request while clients ask; no client notices more than the change."""

import asyncio
import shutil
import time

from tests.processes import QUESTION, Client, ServerProcess
from tests.server.fakes import hashes, rewrite, write_bundle

ADMIN = "Authorization: Bearer root\r\n"


async def test_replacing_a_model_under_load_loses_no_request(tmp_path):
    folder = write_bundle(tmp_path / "models" / "tiny")
    write_bundle(tmp_path / "models" / "other", default=False)
    options = ("--watch-s", "0.1", "--api-keys", "key", "--admin-keys", "root")
    server = await asyncio.to_thread(ServerProcess, tmp_path / "models", *options)
    stop, seen = False, []

    async def keep_asking():
        client = Client(server.port)
        while not stop:
            status, told = await client.request("POST", "/v1/qa", QUESTION, ADMIN)
            seen.append((status, told["model"]["version"] if status == 200 else told))
        client.close()

    async def description(name):
        admin = Client(server.port)
        _, told = await admin.request("GET", f"/v1/models/{name}", headers=ADMIN)
        admin.close()
        return told["description"], told["state"], told["reason"] or ""

    async def until(name, expected):
        end = time.monotonic() + 60
        while not all(part in whole for part, whole in zip(expected, await description(name), strict=True)):
            assert time.monotonic() < end
            await asyncio.sleep(0.05)

    async def change(verb, name):
        admin = Client(server.port)
        status, told = await admin.request("POST", f"/v2/repository/models/{name}/{verb}", {}, ADMIN)
        admin.close()
        return status, told

    try:
        clients = [asyncio.create_task(keep_asking()) for _ in range(8)]
        rewrite(folder, description="Second.")
        await until("tiny", ("Second.", "ready", ""))

        shutil.copytree(folder / "1", folder / "2")
        whole = (folder / "2" / "model.onnx").read_bytes()
        (folder / "2" / "model.onnx").write_bytes(whole[: len(whole) // 2])
        rewrite(folder, description="Third.")
        (folder / "2" / "model.onnx").write_bytes(whole[: len(whole) // 3])
        status, told = await change("load", "tiny")  # half of a bundle
        assert status >= 400
        assert "altered" in told["error"]
        await until("tiny", ("Second.", "ready", "not replaced"))

        (folder / "2" / "model.onnx").write_bytes(whole)
        rewrite(folder, files=hashes(folder))
        await until("tiny", ("Third.", "ready", ""))
        for _ in range(3):
            assert (await change("load", "tiny"))[0] == 200
            assert (await change("unload", "other"))[0] == 200
            assert (await change("load", "other"))[0] == 200
        stop = True
        await asyncio.gather(*clients)
        assert server.end() == 0
    finally:
        server.kill()
    assert {status for status, _ in seen} == {200}
    versions = [version for _, version in seen]
    assert versions == sorted(versions)
    assert {*versions} == {1, 2}
