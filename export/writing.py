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

from export.forms import MODEL, Progress, certify, export_forms, torchscript_role
from export.golden import GOLDEN, golden_probes, golden_role
from export.graphs import graphs_of
from export.half import is_rounded, rounded
from export.sharing import WEIGHTS_FILE, shared
from export.triton import triton_config
from export.verification import verify
from export.wrappers import Graphs
from models.checkpoint import Checkpoint, save_checkpoint
from models.families import FAMILIES
from server.contract.bundle import MANIFEST, WEIGHTS, Bundle
from server.contract.manifest import NAME_PATTERN, DataRecord, Manifest, Signature, Stage, TaskName
from server.contract.subwords import Subwords, is_subwords
from server.contract.text import Vocabulary

VERSION = 1
CHECKPOINT = "checkpoint.pt"
TOKENIZER = "tokenizer.json"
PARITY = "parity"


@dataclass(frozen=True)
class Label:
    """What a person decides about a bundle, and what was measured on it.

    ``selector`` is added to that of the checkpoint.
    """

    name: str
    description: str = ""
    default: bool = False
    languages: tuple[str, ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)
    selector: dict[str, str | int] = field(default_factory=dict)

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
    half: bool = False,
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
        half: round the weights to float16 first and store them so; a checkpoint of such weights stays so.

    Raises:
        FileExistsError: there is such a bundle, and ``force`` does not allow to replace it.
        ParityError: an exported form is not the network.
        BundleError: the bundle does not pass the checks that a server makes.
        ValueError: the checkpoint's data records break a rule of the manifest, a weight is beyond float16,
            or there is no golden probe without a close decision.
    """
    target = repository / label.name
    if target.exists() and not force:
        raise FileExistsError(f"{target} exists; --force replaces it")
    checkpoint = rounded(checkpoint) if half else checkpoint
    graphs = graphs_of(checkpoint)
    tolerance = FAMILIES[checkpoint.family].tolerance if tolerance is None else tolerance
    draft = _manifest(checkpoint, graphs, label, torchscript)
    forms = export_forms(graphs, torchscript, is_rounded(checkpoint), progress)
    certificate = certify(graphs, forms, tolerance, progress)
    forms = shared(forms) if graphs.greedy else forms
    repository.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=repository) as temporary:
        folder = Path(temporary) / label.name
        (folder / str(VERSION)).mkdir(parents=True)
        own = folder / str(VERSION)
        tokenizer = _tokenizer(checkpoint)
        if tokenizer is not None:
            (folder / TOKENIZER).write_text(tokenizer.dump(), encoding="utf-8")
        probes = golden_probes(graphs, _unfinished(folder, draft, tokenizer), tolerance)
        for role, requests in probes.items():
            requests.save(own / draft.graphs[role])
        for role, content in forms.items():
            (own / draft.graphs[role]).write_bytes(content)
        (own / draft.graphs[PARITY]).write_text(json.dumps(certificate, indent=2) + "\n", encoding="utf-8")
        (folder / "config.pbtxt").write_text(triton_config(label.name, draft.signature))
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


def files_of(graphs: Graphs, torchscript: bool) -> dict[str, str]:
    """Return by role the files of a version; a stage that is the whole graph has the files of the whole."""
    files = {MODEL: "model", GOLDEN: GOLDEN}
    for stage, graph in graphs.stages.items():
        shared = graph is graphs.model
        files[stage] = "model" if shared else stage
        files[golden_role(stage)] = GOLDEN if shared else golden_role(stage)
    roles = (MODEL, *graphs.stages) if torchscript else ()
    scripts = {torchscript_role(role): f"{files[role]}.pt" for role in roles}
    named = {role: f"{name}.npz" if GOLDEN in role else f"{name}.onnx" for role, name in files.items()}
    weights = {WEIGHTS: WEIGHTS_FILE} if graphs.greedy else {}
    return named | scripts | weights | {PARITY: "parity.json"}


def _tokenizer(checkpoint: Checkpoint) -> Vocabulary | Subwords | None:
    if checkpoint.tokenizer:
        content = checkpoint.tokenizer.encode()
        return Subwords.parse(content) if is_subwords(content) else Vocabulary.parse(content)
    return Vocabulary.from_words(checkpoint.words) if checkpoint.words else None


def _unfinished(folder: Path, manifest: Manifest, tokenizer: Vocabulary | Subwords | None) -> Bundle:
    """Make the bundle that probes are prepared for: its files are still to be written."""
    words = tokenizer if isinstance(tokenizer, Vocabulary) else None
    return Bundle(folder, VERSION, manifest, words, tokenizer if isinstance(tokenizer, Subwords) else None)


def _manifest(checkpoint: Checkpoint, graphs: Graphs, label: Label, torchscript: bool) -> Manifest:
    family = FAMILIES[checkpoint.family]
    training = {name: value for name, value in checkpoint.training.items() if name != "data"}
    training["network"] = checkpoint.config
    training["parameters"] = sum(weight.numel() for weight in graphs.model.module.parameters())
    if is_rounded(checkpoint):
        training["weights"] = "rounded to float16 after training"
    assert isinstance(graphs.model.signature, Signature)
    return Manifest(
        name=label.name,
        task=cast(TaskName, family.task),
        family=family.name,
        description=label.description,
        selector=checkpoint.selector | label.selector,
        default=label.default,
        graphs=files_of(graphs, torchscript),
        signature=graphs.model.signature,
        stages={
            stage: Stage(inputs=graph.signature.inputs, outputs=graph.signature.outputs)
            for stage, graph in graphs.stages.items()
        },
        limits=checkpoint.limits,
        tokenizer=TOKENIZER if checkpoint.tokenizer or checkpoint.words else None,
        answers=tuple(checkpoint.answers),
        languages=label.languages,
        data=tuple(DataRecord(**record) for record in checkpoint.training.get("data", ())),
        metrics=checkpoint.metrics | label.metrics,
        training=training,
        files={},
    )
