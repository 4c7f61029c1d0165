"""A real Triton server, from the nvidia-pytriton wheel in ``.venv/triton``: CPU and loopback only.

It has the python backend alone, so a bundle is served by ``triton_model.py``, which runs the bundle's graph.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.server.open_inference.clients import free_ports

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv" / "triton"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@contextmanager
def running_triton(bundle, folder):
    """Serve a bundle until the block ends; gives its HTTP and its gRPC address."""
    packages = ENVIRONMENT / "lib" / f"python{VERSION}" / "site-packages"
    triton = packages / "pytriton" / "tritonserver"
    assert triton.is_dir(), "there is no Triton server here: make .venv/triton/.ready"
    shutil.copytree(triton / "backends", folder / "backends")
    stub = triton / "python_backend_stubs" / VERSION / "triton_python_backend_stub"
    shutil.copy(stub, folder / "backends" / "python")
    write_repository(bundle, folder / "models")
    http, grpc = free_ports(2)
    command = [triton / "bin" / "tritonserver", "--model-repository", folder / "models"]
    command += ["--backend-directory", folder / "backends", "--allow-metrics", "false"]
    command += ["--http-address", "127.0.0.1", "--http-port", str(http)]
    command += ["--grpc-address", "127.0.0.1", "--grpc-port", str(grpc)]
    # The stub must find this interpreter's own libpython, not the distribution's.
    libraries = [packages / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR")]
    environment = os.environ | {
        "PATH": f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "PYTHONPATH": str(packages),
    }
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            wait_until_ready(f"http://127.0.0.1:{http}", process, folder / "log")
            yield f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}"
        finally:
            process.terminate()


def write_repository(bundle, folder):
    """Copy a bundle as it is, but for the backend that its configuration names."""
    shutil.copytree(bundle, folder / bundle.name)
    config = folder / bundle.name / "config.pbtxt"
    config.write_text(config.read_text().replace('platform: "onnxruntime_onnx"', 'backend: "python"'))
    for version in (folder / bundle.name).glob("[0-9]*"):
        shutil.copy(Path(__file__).with_name("triton_model.py"), version / "model.py")


def wait_until_ready(url, process, log):
    """Wait until a server is ready, or fail with its log when it has ended."""
    while True:
        assert process.poll() is None, log.read_text()
        with (
            suppress(urllib.error.URLError, ConnectionError),
            urllib.request.urlopen(f"{url}/v2/health/ready"),
        ):
            return
        time.sleep(0.05)
