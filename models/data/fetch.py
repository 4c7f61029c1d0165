"""Where data sets lie: below ``ENGRAM_DATA``, else in the user's cache, fetched once from the official source.

Every fetched file that has a known digest is checked against it. Nothing is ever fetched while serving.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import urllib.request
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from rich.progress import wrap_file


@dataclass(frozen=True)
class Archive:
    """A published ``.tar.gz``: its address, the folder inside it, and the files to keep."""

    url: str
    inside: str
    keep: tuple[str, ...]


ARCHIVES = {
    "babi": Archive(
        "https://s3.amazonaws.com/text-datasets/babi_tasks_1-20_v1-2.tar.gz",
        "tasks_1-20_v1-2/",
        tuple(
            f"en-valid-10k/qa{n}_{split}.txt" for n in range(1, 21) for split in ("train", "valid", "test")
        ),
    )
}


def dataset_folder(name: str) -> Path:
    """Return the folder of a data set, fetching it on first use.

    Raises:
        FileNotFoundError: ``ENGRAM_DATA`` is set and does not hold it.
        ValueError: a fetched file is not the published one.
    """
    root = os.environ.get("ENGRAM_DATA")
    if root:
        folder = Path(root) / name
        if not folder.is_dir():
            raise FileNotFoundError(f"ENGRAM_DATA is set, but has no folder {name!r}")
        return folder
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "engram" / "data" / name
    if not (folder / ".complete").exists():
        _fetch(name, ARCHIVES[name], folder)
    return folder


def _fetch(name: str, archive: Archive, folder: Path) -> None:
    request = urllib.request.Request(archive.url, headers={"User-Agent": "engram"})
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - the address is a constant above
        size = int(response.headers.get("Content-Length", 0))
        with wrap_file(response, size, description=f"fetching {name}") as stream:
            content = stream.read()
    unpack(content, archive, known_digests(name), folder)


def unpack(content: bytes, archive: Archive, digests: dict[str, str], folder: Path) -> None:
    """Write the kept files of an archive below ``folder``, each checked against its digest."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as members:
        for path in archive.keep:
            member = members.extractfile(archive.inside + path)
            if member is None:
                raise ValueError(f"the archive has no {path}")
            text = member.read()
            digest = hashlib.sha256(text).hexdigest()
            if digests.get(path, digest) != digest:
                raise ValueError(
                    f"{path} is not the published file: sha256 {digest}, expected {digests[path]}"
                )
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text)
    (folder / ".complete").touch()


def known_digests(name: str) -> dict[str, str]:
    """Read the committed sha256 list of a data set: path to digest."""
    lines = resources.files("models.data").joinpath(f"{name}.sha256").read_text().splitlines()
    return {path: digest for digest, path in (line.split() for line in lines if line.strip())}
