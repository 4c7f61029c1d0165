"""A bundle on disk: manifest, graphs, tokenizer, probes. Opened only when every checksum holds.

Export writes bundles, the server and the evaluation read them. A reason for refusing one names files by
their place inside the bundle and never the folder it lies in.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import ValidationError

from server.contract.manifest import Manifest
from server.contract.subwords import Subwords, is_subwords
from server.contract.tensors import Arrays
from server.contract.text import Vocabulary
from server.errors import BundleError

MANIFEST = "manifest.json"

WEIGHTS = "weights"
"""The role of the one file in which graphs may keep values: it lies beside them and has its checksum."""

EXTERNAL_DATA = re.compile(rb"\x6a[\x00-\xff]{1,2}\x0a\x08location\x12([\x00-\x7f])")
"""How an ONNX tensor says that its values lie in another file: external_data with the key ``location``; the
last byte is the length of the name that follows."""

LOCATION = b"\x08location"
"""The key alone."""


@dataclass(frozen=True)
class Probes:
    """Golden requests and what the graph answers to each, to compare within ``tolerance``.

    Arrays are those of single requests, without the batch axis.
    """

    inputs: tuple[Arrays, ...]
    outputs: tuple[Arrays, ...]
    tolerance: float

    def save(self, path: Path) -> None:
        """Write ``golden.npz``: ``input.NAME.i``, ``output.NAME.i`` and ``tolerance``."""
        arrays = {
            f"{side}.{name}.{place}": array
            for side, requests in (("input", self.inputs), ("output", self.outputs))
            for place, request in enumerate(requests)
            for name, array in request.items()
        }
        np.savez_compressed(path, allow_pickle=False, tolerance=np.float64(self.tolerance), **arrays)

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read the content of a ``golden.npz``.

        Raises:
            ValueError: it is not such a file, or holds no probe.
        """
        sides: dict[str, dict[int, dict[str, np.ndarray]]] = {"input": {}, "output": {}}
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                tolerance = float(archive["tolerance"])
                for key in archive.files:
                    if key != "tolerance":
                        side, name, place = key.split(".")
                        sides[side].setdefault(int(place), {})[name] = archive[key]
        except (KeyError, OSError, zipfile.BadZipFile) as error:
            raise ValueError("not a file of probes") from error
        places = range(len(sides["input"]))
        if not places or sides["input"].keys() != set(places) or sides["output"].keys() != set(places):
            raise ValueError("inputs and outputs of the probes do not pair up")
        inputs, outputs = (tuple(sides[side][place] for place in places) for side in ("input", "output"))
        return cls(inputs, outputs, tolerance)


@dataclass(frozen=True)
class Bundle:
    """One version of a model on disk, whose files are what its manifest says they are.

    A model of words has a ``vocabulary``, one of pieces of words has ``subwords``, others have neither.
    """

    folder: Path
    version: int
    manifest: Manifest
    vocabulary: Vocabulary | None
    subwords: Subwords | None = None

    @classmethod
    def open(cls, folder: Path, version: int) -> Self:
        """Read the manifest, check the checksums of this version and of the shared files, load the tokenizer.

        Raises:
            BundleError: with the reason.
        """
        manifest = read_manifest(folder)
        if manifest.name != folder.name:
            raise BundleError(f"the manifest names the model {manifest.name!r}, its folder {folder.name!r}")
        bundle = cls(folder, version, manifest, None)
        for name in bundle.files():
            bundle.read(name)
        if manifest.tokenizer is None:
            return bundle
        content = bundle.read(manifest.tokenizer)
        try:
            if is_subwords(content):
                return cls(folder, version, manifest, None, Subwords.parse(content))
            return cls(folder, version, manifest, Vocabulary.parse(content))
        except ValueError as error:
            raise BundleError(f"{manifest.tokenizer}: {error}") from error

    def files(self) -> list[str]:
        """List the files of this version and the shared ones, by their place inside the bundle."""
        shared_or_own = ("", str(self.version))
        return [name for name in self.manifest.files if name.rpartition("/")[0] in shared_or_own]

    def file(self, role: str) -> str:
        """Return the place inside the bundle of the file with this role.

        Raises:
            BundleError: the manifest has no such role, or no checksum for its file.
        """
        if role not in self.manifest.graphs:
            raise BundleError(f"this bundle has no {role!r} file (manifest: graphs)")
        name = f"{self.version}/{self.manifest.graphs[role]}"
        if name not in self.manifest.files:
            raise BundleError(f"{name} has no checksum (manifest: files)")
        return name

    def path(self, role: str) -> Path:
        """Return where the file with this role lies."""
        return self.folder / self.file(role)

    def read(self, name: str) -> bytes:
        """Return the content of a file, of which the checksum holds, by its place inside the bundle.

        Raises:
            BundleError: the file is missing, unreadable, altered, or an ONNX graph with values in other files
                than that of the weights.
        """
        expected = self.manifest.files.get(name)
        if expected is None:
            raise BundleError(f"{name} has no checksum (manifest: files)")
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            raise BundleError(f"{name} cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise BundleError(f"{name} was altered: its checksum is not the manifest's")
        if name.endswith(".onnx"):
            self._check_values(name, content)
        return content

    def weights(self) -> tuple[str, bytes] | None:
        """Return the name and the content of the file in which graphs keep values, if there is one.

        Raises:
            BundleError: it is missing or altered.
        """
        if WEIGHTS not in self.manifest.graphs:
            return None
        return self.manifest.graphs[WEIGHTS], self.read(self.file(WEIGHTS))

    def _check_values(self, name: str, content: bytes) -> None:
        """Refuse a graph with values in any file but that of the weights."""
        known = self.manifest.graphs.get(WEIGHTS, "").encode()
        places = list(EXTERNAL_DATA.finditer(content))
        named = {content[place.end() : place.end() + place[1][0]] for place in places}
        if named - {known} or content.count(LOCATION) != len(places):
            raise BundleError(f"{name} keeps values in other files, which this server refuses")

    def probes(self, role: str = "golden") -> Probes:
        """Return the golden probes of the whole graph, or those with another role (``step_golden``).

        Raises:
            BundleError: there are none, or they are unreadable.
        """
        name = self.file(role)
        try:
            return Probes.parse(self.read(name))
        except ValueError as error:
            raise BundleError(f"{name}: {error}") from error


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of the bundle in ``folder``.

    Raises:
        BundleError: it is missing, is not JSON or breaks a rule; the reason names the first broken field.
    """
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise BundleError(f"{MANIFEST} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BundleError(f"{MANIFEST}{': ' if where else ''}{where}: {first['msg']}") from error


def versions_of(folder: Path) -> list[int]:
    """List the versions of the bundle in ``folder``, the oldest first: its subfolders named by a number."""
    return sorted(
        int(entry.name)
        for entry in folder.iterdir()
        if entry.is_dir() and re.fullmatch(r"[1-9][0-9]{0,8}", entry.name)
    )
