"""What a bundle holds, and that a broken one is neither written nor accepted."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import onnx
import pytest

from export import writing
from export.parity import ValuesDiffer
from export.verification import open_bundle, verify
from export.writing import CHECKPOINT, Label, write_bundle
from models.checkpoint import load_checkpoint
from server.contract.bundle import MANIFEST
from server.errors import BundleError
from tests.export.small import quiet


@pytest.fixture
def folder(bundle, tmp_path):
    """A copy of the bundle to do harm to."""
    return shutil.copytree(bundle.folder, tmp_path / bundle.manifest.name)


@pytest.fixture
def exporting(forms, monkeypatch):
    """Spare the exports: return a setter of the forms that the next bundles are made of."""

    def set_forms(contents):
        monkeypatch.setattr(writing, "export_forms", lambda *_: contents)

    set_forms(forms)
    return set_forms


def test_the_manifest_tells_where_the_network_comes_from(bundle, checkpoint):
    manifest = bundle.manifest
    assert manifest.family == checkpoint.family
    assert manifest.limits == checkpoint.limits
    assert list(manifest.answers) == checkpoint.answers
    assert manifest.metrics == checkpoint.metrics
    assert [record.model_dump(exclude={"note"}) for record in manifest.data] == checkpoint.training["data"]
    assert manifest.training["notes"] == checkpoint.training["notes"]
    assert manifest.training["network"] == checkpoint.config
    assert manifest.training["parameters"] == sum(weight.numel() for weight in checkpoint.weights.values())


def test_every_file_but_the_manifest_is_hashed(bundle):
    files = {path for path in bundle.folder.rglob("*") if path.is_file() and path.name != MANIFEST}
    assert {path.relative_to(bundle.folder).as_posix() for path in files} == bundle.manifest.files.keys()
    for path in files:
        name = path.relative_to(bundle.folder).as_posix()
        assert hashlib.sha256(path.read_bytes()).hexdigest() == bundle.manifest.files[name]


def test_the_kept_checkpoint_is_the_exported_one(bundle, checkpoint):
    kept = load_checkpoint(bundle.folder / CHECKPOINT)
    assert kept.words == checkpoint.words
    for name, weight in checkpoint.weights.items():
        np.testing.assert_array_equal(kept.weights[name].numpy(), weight.numpy())


def test_both_runtimes_replay_the_probes(bundle):
    assert verify(bundle) == ["onnx", "torchscript"]


@pytest.mark.parametrize(
    "name", ["1/model.onnx", "1/model.pt", "1/golden.npz", "1/parity.json", "tokenizer.json", "checkpoint.pt"]
)
def test_a_tampered_file_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(BundleError, match=f"{name} was altered"):
        open_bundle(folder)


def test_another_graph_is_refused_although_its_checksum_holds(folder, bundle):
    model = onnx.load(folder / "1" / "model.onnx")
    tensor = max(model.graph.initializer, key=lambda tensor: tensor.ByteSize())
    values = onnx.numpy_helper.to_array(tensor) * np.float32(1.01)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, folder / "1" / "model.onnx")
    writing.write_manifest(folder, bundle.manifest.model_copy(update={"files": writing.hashes(folder)}))
    with pytest.raises(BundleError, match=r"probe \d: output '\w+' differs by"):
        verify(open_bundle(folder))


def test_a_folder_without_a_bundle_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(BundleError, match="holds no version of a bundle"):
            open_bundle(folder)


def test_a_form_that_is_not_the_network_leaves_nothing_behind(checkpoint, forms, exporting, tmp_path):
    other = dataclasses.replace(
        checkpoint, weights={name: weight * 1.01 for name, weight in checkpoint.weights.items()}
    )
    with pytest.raises(ValuesDiffer, match="the tolerance is"):
        write_bundle(other, tmp_path, Label("other"), quiet)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_replaced_only_by_force(checkpoint, exporting, folder, monkeypatch):
    monkeypatch.setattr("export.parity.BATCHES", (1, 2))
    monkeypatch.setattr("export.parity.MOST_CELLS", 300)
    label = Label(folder.name, "Another sentence.", metrics={"test": {"error": 1.0}})
    with pytest.raises(FileExistsError, match="--force replaces it"):
        write_bundle(checkpoint, folder.parent, label, quiet)
    written = write_bundle(checkpoint, folder.parent, label, quiet, force=True)
    assert written.manifest.description == "Another sentence."
    assert written.manifest.metrics == checkpoint.metrics | {"test": {"error": 1.0}}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_torchscript_and_checkpoint_can_be_left_out(checkpoint, forms, exporting, tmp_path, monkeypatch):
    monkeypatch.setattr("export.parity.BATCHES", (1, 2))
    monkeypatch.setattr("export.parity.MOST_CELLS", 300)
    exporting({"model": forms["model"]})
    written = write_bundle(
        checkpoint, tmp_path, Label("lean"), quiet, torchscript=False, keep_checkpoint=False
    )
    assert verify(written) == ["onnx"]
    assert not (written.folder / CHECKPOINT).exists()
    certificate = json.loads(written.read(written.file("parity")))
    assert certificate["largest_difference"].keys() == {"onnx"}


@pytest.mark.parametrize("name", ["../outside", "", ".hidden", "a/b", "a b"])
def test_an_impossible_name_is_refused(name):
    with pytest.raises(ValueError, match="is no name for a model"):
        Label(name)


def test_a_stricter_tolerance_is_kept_to(checkpoint, exporting, tmp_path):
    with pytest.raises(ValuesDiffer, match="the tolerance is 1e-12"):
        write_bundle(checkpoint, tmp_path, Label("strict"), quiet, tolerance=1e-12)
