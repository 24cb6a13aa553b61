"""Where things live, and that the socket's folder is private."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from hamdev import paths
from hamdev.errors import RuntimeFolderError


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HAMDEV_SOCKET", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))


def test_the_project_is_the_nearest_folder_with_settings(tmp_path: Path):
    project = (tmp_path / "project").resolve()
    inner = project / "pipelines" / "deep"
    inner.mkdir(parents=True)
    assert paths.find_project(inner) == inner
    (project / "devserver.toml").touch()
    assert paths.find_project(inner) == project
    assert paths.find_project(project) == project


def test_a_project_has_one_key_by_whatever_way_it_is_reached(tmp_path: Path):
    project = tmp_path / "project"
    project.mkdir()
    link = tmp_path / "link"
    link.symlink_to(project)
    key = hashlib.sha256(os.fsencode(project.resolve())).hexdigest()[:16]
    assert paths.project_key(project) == paths.project_key(link) == key


def test_the_socket_is_in_the_runtime_folder_under_the_key(tmp_path: Path):
    socket = paths.default_socket(tmp_path)
    assert socket == tmp_path / "run" / "hamdev" / f"{paths.project_key(tmp_path)}.sock"
    assert paths.values_folder(socket).suffix == ".values"


def test_an_explicit_socket_comes_first(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("HAMDEV_SOCKET", "/somewhere/x.sock")
    assert paths.default_socket(tmp_path) == Path("/somewhere/x.sock")


def test_without_a_runtime_folder_it_is_the_cache_and_never_tmpdir(monkeypatch, tmp_path: Path):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    folder = paths.default_socket(tmp_path).parent
    assert folder.name == "hamdev"
    assert not folder.is_relative_to(tmp_path / "tmp")


def test_files_of_a_project(tmp_path: Path):
    assert paths.lock_file(tmp_path) == tmp_path / ".hamdev" / "daemon.lock"
    assert paths.daemon_file(tmp_path) == tmp_path / ".hamdev" / "daemon.json"


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def test_a_new_folder_is_private(tmp_path: Path):
    folder = tmp_path / "run" / "hamdev"
    paths.make_private_folder(folder)
    assert mode(folder) == 0o700
    paths.make_private_folder(folder)


def test_our_own_folder_that_others_may_read_is_closed(tmp_path: Path):
    folder = tmp_path / "hamdev"
    folder.mkdir()
    folder.chmod(0o755)
    paths.make_private_folder(folder)
    assert mode(folder) == 0o700


@pytest.mark.parametrize("bits", [0o770, 0o702, 0o777])
def test_a_folder_that_others_may_write_is_refused_with_the_way_out(tmp_path: Path, bits):
    folder = tmp_path / "hamdev"
    folder.mkdir()
    folder.chmod(bits)
    with pytest.raises(RuntimeFolderError, match=rf"mode 0{bits:o}.*chmod 700 '{folder}'"):
        paths.make_private_folder(folder)
    assert mode(folder) == bits


def test_a_folder_of_someone_else_is_refused(monkeypatch, tmp_path: Path):
    folder = tmp_path / "hamdev"
    folder.mkdir()
    uid = folder.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    with pytest.raises(RuntimeFolderError, match=rf"belongs to uid {uid}, .*HAMDEV_SOCKET"):
        paths.make_private_folder(folder)
