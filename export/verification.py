"""The checks a server makes before it lets a bundle answer, without a server."""

from __future__ import annotations

from pathlib import Path

from server.contract.bundle import Bundle, versions_of
from server.contract.manifest import RuntimeName, StageName
from server.errors import BundleError
from server.runtime.golden import replay
from server.runtime.session import Session, open_session, open_stage
from server.tasks import TASKS

RUNTIMES: dict[RuntimeName, str] = {"onnx": "model", "torchscript": "torchscript"}
"""Runtimes that can be checked here, with the role of the file each one runs."""


def open_bundle(folder: Path) -> Bundle:
    """Open the newest version of the bundle in ``folder``, every checksum compared.

    Raises:
        BundleError: it is broken or altered, or there is none.
    """
    versions = versions_of(folder) if folder.is_dir() else []
    if not versions:
        raise BundleError(f"{folder} holds no version of a bundle (a folder named 1, 2, ...)")
    # resolve() gives "." its name, which the manifest is compared with.
    return Bundle.open(folder.resolve(), versions[-1])


def open_verified(bundle: Bundle, runtime: RuntimeName | None = None) -> Session:
    """Open a session on the CPU and replay the golden probes on it.

    Raises:
        BundleError: the runtime cannot be had, or a probe is answered differently.
    """
    session = open_session(bundle, runtime)
    try:
        replay(session, bundle.manifest.signature, bundle.probes())
    except BaseException:
        session.close()
        raise
    return session


def verify(bundle: Bundle) -> list[RuntimeName]:
    """Check the bundle's task and replay its probes on every runtime it has a file for; return these.

    Raises:
        BundleError: with the reason.
    """
    manifest = bundle.manifest
    if manifest.task not in TASKS:
        raise BundleError(f"there is no task {manifest.task!r}, only {', '.join(TASKS)}")
    TASKS[manifest.task]().check(bundle)
    runtimes = [runtime for runtime, role in RUNTIMES.items() if role in manifest.graphs]
    for runtime in runtimes:
        open_verified(bundle, runtime).close()
    for stage, spec in manifest.stages.items():
        probes = bundle.probes(f"{stage}_golden")
        for runtime in (runtime for runtime in RUNTIMES if _role(stage, runtime) in manifest.graphs):
            session = open_stage(bundle, stage, runtime)
            try:
                replay(session, spec, probes)
            finally:
                session.close()
    return runtimes


def _role(stage: StageName, runtime: RuntimeName) -> str:
    return stage if runtime == "onnx" else f"{stage}_{runtime}"
