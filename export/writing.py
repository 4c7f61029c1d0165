"""Writing a bundle: built and verified in a temporary folder, then put in its place at once.

Whatever fails on the way, nothing is left behind and an existing bundle stays as it was.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from export.forms import Forms, Progress, certify, export_forms
from export.golden import golden_probes
from export.triton import triton_config
from export.verification import verify
from export.wrappers import GRAPHS, Graph
from models.checkpoint import Checkpoint, save_checkpoint
from models.families import FAMILIES
from server.contract.bundle import MANIFEST, Bundle
from server.contract.manifest import NAME_PATTERN, DataRecord, Manifest, TaskName
from server.contract.text import Vocabulary

VERSION = 1
CHECKPOINT = "checkpoint.pt"
TOKENIZER = "tokenizer.json"
FILES = {"model": "model.onnx", "torchscript": "model.pt", "golden": "golden.npz", "parity": "parity.json"}


@dataclass(frozen=True)
class Label:
    """What a person decides about a bundle, and what was measured on it."""

    name: str
    description: str = ""
    default: bool = False
    languages: tuple[str, ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a name that may not reach a path."""
        if not re.fullmatch(NAME_PATTERN, self.name):
            raise ValueError(
                f"{self.name!r} is no name for a model: at most 128 letters, digits, '.', '_' and '-', "
                "the first a letter or a digit"
            )


def write_bundle(
    checkpoint: Checkpoint,
    repository: Path,
    label: Label,
    progress: Progress,
    *,
    tolerance: float | None = None,
    force: bool = False,
    torchscript: bool = True,
    keep_checkpoint: bool = True,
) -> Bundle:
    """Export a checkpoint to ``repository/NAME`` and return the verified bundle.

    Args:
        checkpoint: the network.
        repository: the folder of all bundles.
        label: name and description.
        progress: told how far it is.
        tolerance: the largest absolute difference from eager torch; ``None`` is the family's.
        force: replace a bundle of this name.
        torchscript: export TorchScript beside ONNX.
        keep_checkpoint: put the checkpoint into the bundle, so that it can be exported anew.

    Raises:
        FileExistsError: there is such a bundle, and ``force`` does not allow to replace it.
        ParityError: an exported form is not the network.
        BundleError: the bundle does not pass the checks that a server makes.
        ValueError: the checkpoint's data records break a rule of the manifest.
    """
    target = repository / label.name
    graph = GRAPHS[checkpoint.family](checkpoint)
    tolerance = FAMILIES[checkpoint.family].tolerance if tolerance is None else tolerance
    draft = _manifest(checkpoint, graph, label, torchscript)
    if target.exists() and not force:
        raise FileExistsError(f"{target} exists; --force replaces it")
    forms = export_forms(graph, torchscript, progress)
    certificate = certify(graph, forms, tolerance, progress)
    repository.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=repository) as temporary:
        folder = Path(temporary) / label.name
        (folder / str(VERSION)).mkdir(parents=True)
        vocabulary = Vocabulary.from_words(checkpoint.words)
        probes = golden_probes(graph, Bundle(folder, VERSION, draft, vocabulary), tolerance)
        vocabulary.save(folder / TOKENIZER)
        probes.save(folder / str(VERSION) / FILES["golden"])
        (folder / "config.pbtxt").write_text(triton_config(label.name, graph.signature))
        _write_version(folder / str(VERSION), forms, certificate)
        if keep_checkpoint:
            save_checkpoint(checkpoint, folder / CHECKPOINT)
        write_manifest(folder, draft.model_copy(update={"files": hashes(folder)}))
        verify(Bundle.open(folder, VERSION))
        if target.exists():
            target.rename(Path(temporary) / "replaced")
        folder.rename(target)
    return Bundle.open(target, VERSION)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``; a kill in between leaves the previous one whole."""
    partial = folder / (MANIFEST + ".partial")
    partial.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / MANIFEST)


def hashes(folder: Path) -> dict[str, str]:
    """Hash every file of a bundle but its manifest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def _write_version(folder: Path, forms: Forms, certificate: dict[str, Any]) -> None:
    for role, content in forms.items():
        (folder / FILES[role]).write_bytes(content)
    (folder / FILES["parity"]).write_text(json.dumps(certificate, indent=2) + "\n", encoding="utf-8")


def _manifest(checkpoint: Checkpoint, graph: Graph, label: Label, torchscript: bool) -> Manifest:
    family = FAMILIES[checkpoint.family]
    training = {name: value for name, value in checkpoint.training.items() if name != "data"}
    return Manifest(
        name=label.name,
        task=cast(TaskName, family.task),
        family=family.name,
        description=label.description,
        default=label.default,
        graphs={role: file for role, file in FILES.items() if torchscript or role != "torchscript"},
        signature=graph.signature,
        limits=checkpoint.limits,
        tokenizer=TOKENIZER,
        answers=tuple(checkpoint.answers),
        languages=label.languages,
        data=tuple(DataRecord(**record) for record in checkpoint.training.get("data", ())),
        metrics=checkpoint.metrics | label.metrics,
        training=training
        | {
            "network": checkpoint.config,
            "parameters": sum(weight.numel() for weight in graph.module.parameters()),
        },
        files={},
    )
