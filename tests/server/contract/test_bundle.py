import json

import numpy as np
import pytest

from server.contract.bundle import Bundle, Probes, read_manifest, versions_of
from server.errors import BundleError
from tests.server.fakes import WORDS, hashes, probes, rewrite, write_bundle


@pytest.fixture
def folder(tmp_path):
    return write_bundle(tmp_path / "tiny")


def test_a_bundle_opens_with_its_vocabulary_and_probes(folder):
    bundle = Bundle.open(folder, 1)
    assert bundle.manifest.name == "tiny"
    assert bundle.vocabulary.words == WORDS
    assert bundle.path("model") == folder / "1" / "model.onnx"
    assert bundle.probes().tolerance == 1e-6


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "1/model.onnx", "1/golden.npz", "1/parity.json"], ids=lambda name: name
)
def test_an_altered_file_is_refused_by_name_and_without_its_folder(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(BundleError, match=f"{name} was altered") as caught:
        Bundle.open(folder, 1)
    assert str(folder) not in caught.value.message


def test_a_missing_file_is_refused(folder):
    (folder / "1" / "golden.npz").unlink()
    with pytest.raises(BundleError, match=r"1/golden\.npz cannot be read: No such file"):
        Bundle.open(folder, 1)


def test_files_of_other_versions_are_left_alone(folder):
    rewrite(folder, files=hashes(folder) | {"2/model.onnx": "0" * 64})
    assert "2/model.onnx" not in Bundle.open(folder, 1).files()


def test_a_file_changed_after_opening_is_refused_when_read(folder):
    bundle = Bundle.open(folder, 1)
    (folder / "1" / "model.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match="altered"):
        bundle.read("1/model.onnx")


def test_a_file_without_a_checksum_is_never_read(folder):
    (folder / "1" / "other.onnx").write_bytes(b"")
    rewrite(folder, graphs={"model": "other.onnx"}, files={})
    with pytest.raises(BundleError, match=r"1/other\.onnx has no checksum"):
        Bundle(folder, 1, read_manifest(folder), None).file("model")
    with pytest.raises(BundleError, match=r"tokenizer\.json has no checksum"):
        Bundle.open(folder, 1)


def test_a_role_the_bundle_does_not_have_is_named(folder):
    with pytest.raises(BundleError, match="no 'torchscript' file"):
        Bundle.open(folder, 1).file("torchscript")


def test_a_graph_with_values_in_other_files_is_refused(folder):
    external = b"\x2a\x40\x6a\x1a\x0a\x08location\x12\x0cweights.data\x70\x01"
    (folder / "1" / "model.onnx").write_bytes(b"\x08\x09" + external)
    rewrite(folder)
    with pytest.raises(BundleError, match=r"1/model\.onnx keeps values in other files"):
        Bundle.open(folder, 1)


def test_the_folder_has_the_name_of_the_model(folder):
    rewrite(folder, name="other")
    with pytest.raises(BundleError, match="names the model 'other', its folder 'tiny'"):
        Bundle.open(folder, 1)


def test_a_tokenizer_of_another_kind_is_refused(folder):
    (folder / "tokenizer.json").write_text("{}")
    rewrite(folder)
    with pytest.raises(BundleError, match=r"tokenizer\.json: not a tokenizer file"):
        Bundle.open(folder, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "manifest.json: Invalid JSON"),
        ("{}", "manifest.json: name: Field required"),
        (None, "cannot be read"),
    ],
    ids=["broken", "empty", "missing"],
)
def test_a_manifest_that_breaks_a_rule_says_which(folder, content, reason):
    path = folder / "manifest.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(BundleError, match=reason):
        Bundle.open(folder, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"graphs": {"model": "../../secret"}},
        {"files": {"../secret": "0" * 64}},
        {"tokenizer": "/etc/passwd"},
        {"surprise": 1},
    ],
    ids=["graph-outside", "file-outside", "absolute", "unknown-field"],
)
def test_a_manifest_cannot_point_outside_its_folder(folder, change):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.open(folder, 1)


def test_versions_are_the_numbered_folders_in_order(folder):
    for name in ("10", "2", "0", "02", "draft"):
        (folder / name).mkdir()
    assert versions_of(folder) == [1, 2, 10]


def test_probes_read_back_as_written(tmp_path):
    probes().save(tmp_path / "golden.npz")
    again = Probes.parse((tmp_path / "golden.npz").read_bytes())
    assert again.tolerance == probes().tolerance
    for side in ("inputs", "outputs"):
        for own, other in zip(getattr(probes(), side), getattr(again, side), strict=True):
            assert own.keys() == other.keys()
            for name in own:
                np.testing.assert_array_equal(own[name], other[name])


@pytest.mark.parametrize(
    "arrays",
    [
        {"tolerance": 1e-5},
        {"input.x.0": np.ones(1)},
        {"tolerance": 1e-5, "input.x.0": np.ones(1)},
        {"tolerance": 1e-5, "input.x.1": np.ones(1), "output.y.1": np.ones(1)},
        {"tolerance": 1e-5, "other": np.ones(1)},
        {"tolerance": 1e-5, "input.x.0": np.array([{}], dtype=object)},
    ],
    ids=["none", "no-tolerance", "no-outputs", "gap", "other-key", "pickled"],
)
def test_a_file_that_holds_no_probes_is_refused(tmp_path, arrays):
    np.savez(tmp_path / "golden.npz", **arrays)
    with pytest.raises(ValueError, match=r"prob|unpack|pickle|Object"):
        Probes.parse((tmp_path / "golden.npz").read_bytes())


def test_unreadable_probes_are_refused_with_their_name(folder):
    (folder / "1" / "golden.npz").write_bytes(b"not an archive")
    rewrite(folder)
    with pytest.raises(BundleError, match=r"1/golden\.npz: "):
        Bundle.open(folder, 1).probes()


def test_a_graph_may_keep_values_in_the_weights_of_its_bundle_alone(folder):
    def write(name, extra=b""):
        entry = b"\x0a\x08location\x12" + bytes([len(name)]) + name
        content = b"\x08\x09\x2a\x40\x6a" + bytes([len(entry)]) + entry + b"\x70\x01" + extra
        (folder / "1" / "model.onnx").write_bytes(content)
        rewrite(folder, graphs=graphs)

    (folder / "1" / "weights.bin").write_bytes(b"values")
    graphs = read_manifest(folder).graphs | {"weights": "weights.bin"}
    write(b"weights.bin")
    assert Bundle.open(folder, 1).weights() == ("weights.bin", b"values")
    for name, extra in ((b"/etc/hosts", b""), (b"weights.bin", b"\x12\x01a\x0a\x08location")):
        write(name, extra)
        with pytest.raises(BundleError, match="values in other files"):
            Bundle.open(folder, 1)


def test_a_bundle_without_weights_has_none(folder):
    assert Bundle.open(folder, 1).weights() is None
