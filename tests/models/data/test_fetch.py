import dataclasses
import hashlib
import io
import tarfile

import pytest

from models.data import fetch
from models.data.fetch import Archive, dataset_folder, known_digests, unpack

FILES = {"part/one.txt": b"1 Ada ran.\n", "part/two.txt": b"1 Ben ran.\n"}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def packed(files):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"release/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return content.getvalue()


CONTENT = packed(FILES | {"part/three.txt": b"not wanted"})
DIGESTS = {path: sha256(text) for path, text in FILES.items()}
ARCHIVE = Archive("https://example.org/release.tar.gz", sha256(CONTENT), "release/", tuple(FILES))


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A data set that lies in a local archive, and an empty cache."""
    path = tmp_path / "release.tar.gz"
    path.write_bytes(CONTENT)
    monkeypatch.delenv("ENGRAM_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(fetch.ARCHIVES, "babi", dataclasses.replace(ARCHIVE, url=path.as_uri()))
    monkeypatch.setattr(fetch, "known_digests", lambda name: DIGESTS)
    return path


def test_a_data_set_is_fetched_once_with_a_progress_bar(published, tmp_path, capsys):
    folder = dataset_folder("babi")
    assert folder == tmp_path / "cache" / "engram" / "data" / "babi"
    assert {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.txt")} == FILES
    assert "fetching babi" in capsys.readouterr().err
    published.unlink()
    assert dataset_folder("babi") == folder


def test_an_interrupted_fetch_is_done_again(published, tmp_path):
    folder = tmp_path / "cache" / "engram" / "data" / "babi"
    (folder / "part").mkdir(parents=True)
    (folder / "part" / "one.txt").write_text("cut sh")
    assert (dataset_folder("babi") / "part" / "one.txt").read_bytes() == FILES["part/one.txt"]


def test_a_failed_fetch_says_what_to_do(published):
    published.unlink()
    with pytest.raises(OSError, match=r"could not fetch file:.*put its folder part into a folder 'babi'"):
        dataset_folder("babi")


def test_what_nothing_vouches_for_is_said(published, monkeypatch, capsys):
    monkeypatch.setitem(
        fetch.ARCHIVES, "babi", dataclasses.replace(fetch.ARCHIVES["babi"], sha256="another archive's")
    )
    monkeypatch.setattr(fetch, "known_digests", lambda name: {"part/one.txt": DIGESTS["part/one.txt"]})
    dataset_folder("babi")
    assert "no sha256 is known for part/two.txt: taken as published" in " ".join(
        capsys.readouterr().err.split()
    )


def test_the_known_archive_vouches_for_all_its_files(tmp_path):
    assert unpack(CONTENT, ARCHIVE, {}, tmp_path) == []


def test_a_changed_file_is_refused(tmp_path):
    changed = packed(FILES | {"part/two.txt": b"1 Eve ran.\n"})
    with pytest.raises(
        ValueError, match=r"part/two\.txt is not the published file: sha256 \w{64}, expected \w{64}"
    ):
        unpack(changed, ARCHIVE, DIGESTS, tmp_path)
    assert not (tmp_path / ".complete").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (packed({"part/one.txt": FILES["part/one.txt"]}), r"the archive has no file release/part/two\.txt"),
        (b"<html>not found</html>", "is no archive"),
        (CONTENT[: len(CONTENT) // 2], "is no archive"),
    ],
    ids=["file missing", "page instead", "cut short"],
)
def test_what_is_not_the_archive_is_refused(content, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        unpack(content, ARCHIVE, DIGESTS, tmp_path)
    assert not (tmp_path / ".complete").exists()


def test_data_that_is_at_hand_is_used_as_it_lies(tmp_path, monkeypatch):
    (tmp_path / "babi").mkdir()
    monkeypatch.setenv("ENGRAM_DATA", str(tmp_path))
    assert dataset_folder("babi") == tmp_path / "babi"
    with pytest.raises(FileNotFoundError, match="has no folder 'ptb'"):
        dataset_folder("ptb")


def test_every_kept_file_of_babi_has_a_digest_but_one():
    archive = fetch.ARCHIVES["babi"]
    digests = known_digests("babi")
    assert len(archive.keep) == 60
    assert [path for path in archive.keep if path not in digests] == ["en-valid-10k/qa3_train.txt"]
    assert all(len(digest) == 64 for digest in [*digests.values(), archive.sha256])
