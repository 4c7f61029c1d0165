"""The peers: what each needs, how it is started, what it does with windows and lengths."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.machine import ROOT
from benchmarks.peers.environments import NotInstalled, site_packages
from benchmarks.peers.forms import ITEMS, PLAIN, V2, Form

SERVERS = Path(__file__).with_name("servers")
PYTHONPATH = f"{SERVERS}:{ROOT}"
"""Where every peer finds the work, and this project."""
RUNTIME = (
    "onnxruntime==1.31.1",
    "msgspec==0.22.0",
    "pydantic==2.14.3",
    "tokenizers==0.23.3",
    "orjson==3.13.0",
    "sentencex==1.0.32",
)
"""What the model needs everywhere."""
PORTS = 5
"""Consecutive ports a peer may take, its HTTP port first."""


@dataclass(frozen=True)
class Launch:
    """How a peer is started."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """A server to compare with.

    ``environment`` names its virtual environment; ``launch`` takes that, a port and a folder for files.
    All of them join requests of any lengths and pad them.
    """

    name: str
    environment: str
    requirements: Sequence[str]
    path: str
    form: Form
    window: str
    launch: Callable[[Path, int, Path], Launch]


def _litserve(environment: Path, port: int, _: Path) -> Launch:
    return Launch([str(environment / "bin" / "python"), str(SERVERS / "litserve_server.py"), str(port)])


def _bentoml(environment: Path, port: int, _: Path) -> Launch:
    command = [str(environment / "bin" / "bentoml"), "serve", "bentoml_server:Qa", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--working-dir", str(SERVERS)]
    return Launch(command, {"BENTOML_DO_NOT_TRACK": "True"})


def _mlserver(environment: Path, port: int, folder: Path, *, window_s: float) -> Launch:
    settings = {
        "name": "qa",
        "implementation": "mlserver_runtime.Qa",
        "max_batch_size": 32 if window_s else 0,
        "max_batch_time": window_s,
    }
    (folder / "model-settings.json").write_text(json.dumps(settings), encoding="utf-8")
    variables = {
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_PARALLEL_WORKERS": "0",
        "MLSERVER_DEBUG": "false",
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": str(port + 1),
        "MLSERVER_METRICS_PORT": str(port + 2),
    }
    return Launch([str(environment / "bin" / "mlserver"), "start", str(folder)], variables)


def _torchserve(environment: Path, port: int, folder: Path) -> Launch:
    if not shutil.which("java"):
        raise NotInstalled("torchserve needs Java 17 (apt-get install openjdk-17-jre-headless)")
    programs, handler = environment / "bin", SERVERS / "torchserve_handler.py"
    archive = [str(programs / "torch-model-archiver"), "--model-name", "qa", "--version", "1.0", "--force"]
    subprocess.run([*archive, "--handler", handler, "--export-path", folder], check=True, capture_output=True)
    model = {"defaultVersion": True, "marName": "qa.mar", "minWorkers": 1, "maxWorkers": 1}
    model |= {
        "batchSize": 32,
        "maxBatchDelay": 1,
        "responseTimeout": 60,
    }  # a delay of 0 counts as unset: 100 ms
    lines = [
        *(f"{name}_address=http://127.0.0.1:{port + at}" for at, name in enumerate(_TORCHSERVE_ADDRESSES)),
        f"grpc_inference_port={port + 3}",
        f"grpc_management_port={port + 4}",
        f"models={json.dumps({'qa': {'1.0': model}})}",
        "default_workers_per_model=1",
        "enable_envvars_config=false",
    ]
    config = folder / "config.properties"
    config.write_text("\n".join(lines), encoding="utf-8")
    command = [str(programs / "torchserve"), "--foreground", "--disable-token-auth", "--ncs"]
    command += ["--model-store", str(folder), "--models", "qa=qa.mar", "--ts-config", str(config)]
    variables = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "TMPDIR": str(folder),  # where it notes that it runs
    }
    return Launch(command, variables)


_TORCHSERVE_ADDRESSES = ("inference", "management", "metrics")


def _triton(environment: Path, port: int, folder: Path) -> Launch:
    """Start the ``tritonserver`` of the nvidia-pytriton wheel on a repository of one model."""
    packages = site_packages(environment)
    triton = packages / "pytriton" / "tritonserver"
    backends, repository = folder / "backends", folder / "repository"
    shutil.copytree(triton / "backends", backends)
    stub = f"{sys.version_info.major}.{sys.version_info.minor}/triton_python_backend_stub"
    shutil.copy(triton / "python_backend_stubs" / stub, backends / "python")
    (repository / "qa" / "1").mkdir(parents=True)
    shutil.copy(SERVERS / "triton" / "model.py", repository / "qa" / "1")
    shutil.copy(SERVERS / "triton" / "config.pbtxt", repository / "qa")
    # The stub must find this interpreter's own libpython, not the distribution's.
    libraries = [packages / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR")]
    variables = {
        "PATH": f"{environment / 'bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
    }
    command = [str(triton / "bin" / "tritonserver"), "--model-repository", str(repository)]
    command += ["--backend-directory", str(backends), "--http-address", "127.0.0.1", "--http-port", str(port)]
    command += ["--allow-grpc", "false", "--allow-metrics", "false", "--log-verbose", "0"]
    # Its stub crashes now and then when the shared memory of 1 MB has to grow; 64 MB never has to.
    command += ["--backend-config", "python,shm-default-byte-size=67108864"]
    return Launch(command, variables)


INFER = "/v2/models/qa/infer"
TRITON = ("nvidia-pytriton==0.7.0", *RUNTIME)
MLSERVER = ("mlserver==1.7.1", *RUNTIME)
ARCHIVER = ("torch-model-archiver==0.12.0", "torch==2.13.0", "pyyaml==6.0.3", "setuptools==84.2.1")

PEERS = (
    Peer(
        name="triton",
        environment="triton",
        requirements=TRITON,
        path=INFER,
        form=V2,
        window="off",
        launch=_triton,
    ),
    Peer(
        name="litserve",
        environment="litserve",
        requirements=("litserve==0.2.19", *RUNTIME),
        path="/predict",
        form=PLAIN,
        window="off",
        launch=_litserve,
    ),
    Peer(
        name="mlserver",
        environment="mlserver",
        requirements=MLSERVER,
        path=INFER,
        form=V2,
        window="off, which turns its batching off",
        launch=partial(_mlserver, window_s=0),
    ),
    Peer(
        name="mlserver-1ms",
        environment="mlserver",
        requirements=MLSERVER,
        path=INFER,
        form=V2,
        window="1 ms, so that it batches",
        launch=partial(_mlserver, window_s=0.001),
    ),
    Peer(
        name="bentoml",
        environment="bentoml",
        requirements=("bentoml==1.4.39", *RUNTIME),
        path="/predict",
        form=ITEMS,
        window="adaptive, which cannot be turned off",
        launch=_bentoml,
    ),
    Peer(
        name="torchserve",
        environment="torchserve",
        requirements=("torchserve==0.12.0", *ARCHIVER, *RUNTIME),
        path="/predictions/qa",
        form=PLAIN,
        window="1 ms, its smallest",
        launch=_torchserve,
    ),
)
