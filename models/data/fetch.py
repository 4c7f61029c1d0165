"""Where data sets lie: below ``ENGRAM_DATA``, else in the user's cache, fetched once from their publisher.

What is fetched is checked against committed digests. Nothing is ever fetched while serving.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.progress import wrap_file


@dataclass(frozen=True)
class Archive:
    """A published ``.tar.gz``: its address, its own sha256, the folder inside it, and the files to keep."""

    url: str
    sha256: str
    inside: str
    keep: tuple[str, ...]


ARCHIVES = {
    "babi": Archive(
        url="http://www.thespermwhale.com/jaseweston/babi/tasks_1-20_v1-2.tar.gz",
        # recorded by the Hugging Face loader `babi_qa`: 15,719,851 bytes
        sha256="0364ebde659f14d11bc21744516c5ec49d3d06cb692733f66680771244998898",
        inside="tasks_1-20_v1-2/",
        keep=tuple(
            f"en-valid-10k/qa{n}_{split}.txt" for n in range(1, 21) for split in ("train", "valid", "test")
        ),
    ),
    "multi30k": Archive(
        url="https://codeload.github.com/multi30k/dataset/tar.gz/a3d2e0d26b56f3846f66a952536ffed4e401d05a",
        sha256="",  # made when it is asked for: each file is checked by its own
        inside="dataset-a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/",
        keep=tuple(
            f"raw/{part}.{language}.gz"
            for part in ("train", "val", "test_2016_flickr")
            for language in ("en", "de", "fr")
        ),
    ),
    "wikitext-2": Archive(
        url="https://codeload.github.com/pytorch/examples/tar.gz/77f55b912142e11fcfdf5b530231fb9c52f181e8",
        sha256="",  # made when it is asked for: each file is checked by its own
        inside="examples-77f55b912142e11fcfdf5b530231fb9c52f181e8/word_language_model/data/wikitext-2/",
        keep=("train.txt", "valid.txt", "test.txt"),
    ),
}


def dataset_folder(name: str) -> Path:
    """Return the folder of a data set, fetching it on first use.

    Raises:
        FileNotFoundError: ``ENGRAM_DATA`` does not hold it, or is not set and nothing fetches it.
        OSError: it could not be fetched.
        ValueError: a fetched file is not the published one.
    """
    root = os.environ.get("ENGRAM_DATA")
    if root:
        folder = Path(root) / name
        if not folder.is_dir():
            raise FileNotFoundError(f"ENGRAM_DATA is set, but {root} has no folder {name!r}")
        return folder
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "engram" / "data" / name
    if name not in ARCHIVES:
        raise FileNotFoundError(f"{name} is not fetched: let ENGRAM_DATA name a folder that holds it")
    if not (folder / ".complete").exists():
        fetch(name, ARCHIVES[name], folder)
    return folder


def fetch(name: str, archive: Archive, folder: Path) -> None:
    """Fetch an archive with a progress bar and unpack it; what could not be checked is said.

    Raises:
        OSError: it could not be fetched.
        ValueError: it is not the published archive.
    """
    console = Console(stderr=True)
    try:
        with urllib.request.urlopen(archive.url, timeout=60) as response:  # noqa: S310 - a constant above
            size = int(response.headers.get("Content-Length") or 0)
            with wrap_file(response, size, description=f"fetching {name}", console=console) as stream:
                content = stream.read()
    except OSError as error:
        raise OSError(
            f"could not fetch {archive.url}: {error}. If you have the release, put its folder "
            f"{Path(archive.keep[0]).parent} into a folder {name!r} and let ENGRAM_DATA name the one around"
        ) from error
    unchecked = unpack(content, archive, known_digests(name), folder)
    if unchecked:
        console.print(f"no sha256 is known for {', '.join(unchecked)}: taken as published", highlight=False)


def unpack(content: bytes, archive: Archive, digests: Mapping[str, str], folder: Path) -> list[str]:
    """Write the kept files of an archive below ``folder``, each checked against its digest.

    Returns:
        The files that nothing vouches for: no digest of their own, in an archive that is not the known one.

    Raises:
        ValueError: it is no archive, a file is missing, or a file differs from the published one.
    """
    vouched = hashlib.sha256(content).hexdigest() == archive.sha256
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as members:
            for path in archive.keep:
                text = _read(members, archive.inside + path)
                digest = hashlib.sha256(text).hexdigest()
                if digests.get(path, digest) != digest:
                    raise ValueError(
                        f"{path} is not the published file: sha256 {digest}, expected {digests[path]}"
                    )
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(text)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"what {archive.url} sent is no archive: {error}") from error
    (folder / ".complete").touch()
    return [] if vouched else [path for path in archive.keep if path not in digests]


def _read(members: tarfile.TarFile, path: str) -> bytes:
    try:
        member = members.extractfile(path)
    except KeyError:
        member = None
    if member is None:
        raise ValueError(f"the archive has no file {path}")
    return member.read()


def known_digests(name: str) -> dict[str, str]:
    """Read the committed sha256 list of a data set: path to digest."""
    lines = resources.files("models.data").joinpath(f"{name}.sha256").read_text().splitlines()
    return {path: digest for digest, path in (line.split() for line in lines if line.strip())}
