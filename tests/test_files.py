"""Files appear whole or not at all, and what cannot be written to is reported beforehand."""

from pathlib import Path

import pytest

from robosac.errors import InputError
from robosac.files import check_writable, check_writable_file, write_whole


def test_a_file_is_written_with_its_folders(tmp_path):
    write_whole(tmp_path / "a" / "b.txt", b"whole")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"whole"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    monkeypatch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_every_file_can_be_read_by_all(tmp_path):
    write_whole(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_folder_that_takes_files_is_left_as_it_was(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    check_writable(tmp_path / "there")
    check_writable(tmp_path / "new" / "deep")
    check_writable_file(tmp_path / "there" / "file")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["there", "there/file"]


@pytest.mark.parametrize(("where", "why"), [("file", "it is a file"), ("file/x", "Not a dir"), ("n" * 300, "too long")])
def test_a_folder_that_cannot_be_is_told(where, why, tmp_path):
    (tmp_path / "file").write_bytes(b"kept")
    with pytest.raises(InputError, match=rf"expected a folder that can be written to, got .*\(.*{why}.*\); name ano"):
        check_writable(tmp_path / where)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_a_folder_that_takes_no_files_is_told(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # modes do not stop a test that runs as root
    with pytest.raises(InputError, match=r"got .*new \(Permission denied\)"):
        check_writable(tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match=r"expected a file to write, got the folder .*; name a file in it"):
        check_writable_file(tmp_path)
