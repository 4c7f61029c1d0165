"""A real PostgreSQL of Debian's packages, for as long as a test takes: its own folder, a free port."""

import os
import pwd
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from tests.server.open_inference.clients import free_ports

PACKAGE = "postgresql"


def programs():
    """Return the folder of PostgreSQL's programs; where it is missing, install it, which takes root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        get = ["apt-get", "--yes", "--no-install-recommends"]
        subprocess.run([*get, "update"], env=environment, check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*get, "install", PACKAGE], env=environment, check=True, stdout=subprocess.DEVNULL)
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent


@contextmanager
def postgresql(folder):
    """Start a server in the folder and yield the URL of an empty database."""
    binaries, [port] = programs(), free_ports(1)
    data = folder / "postgresql"
    data.mkdir()
    user = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        account = pwd.getpwnam("postgres")
        os.chown(data, account.pw_uid, account.pw_gid)
        for parent in [folder, *folder.parents][:4]:
            if parent.stat().st_uid == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    quiet = {"stdout": subprocess.DEVNULL, "cwd": data, **user}
    initialise = [binaries / "initdb", "--auth=trust", "--username=engram", "--no-sync", f"--pgdata={data}"]
    subprocess.run(initialise, check=True, **quiet)
    settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": data,
        "fsync": "off",  # this test kills our servers, not the database
        "logging_collector": "off",
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    with (data / "log").open("wb") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, *options], stdout=log, stderr=log, cwd=data, **user
        )
    try:
        _wait(binaries, port)
        yield f"postgresql://engram@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(60)
        shutil.rmtree(data, ignore_errors=True)


def _wait(binaries, port, seconds=60):
    end = time.monotonic() + seconds
    ready = [binaries / "pg_isready", "--quiet", "--host=127.0.0.1", f"--port={port}"]
    while subprocess.run(ready, check=False).returncode:
        assert time.monotonic() < end, "PostgreSQL did not start"
        time.sleep(0.1)
