"""Kept values of projects that are no more are removed, and nothing else is."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from real_daemon import Daemon, eventually, runtime_folder

from hamdev.daemon import abandoned
from hamdev.daemon.abandoned import note_project, remove_abandoned
from hamdev.paths import kept_values_folder
from hamdev.worker.store import Store

KEY = "0123456789abcdef"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def project(folder: Path, *, is_gone: bool = True, is_old: bool = True) -> Path:
    """The folder with the values of a project."""
    folder.mkdir(parents=True)
    kept = kept_values_folder(folder)
    note_project(folder)
    assert Store(kept, 10**6).put(KEY, [1])
    assert Store(kept, 10**6).put(f"{KEY}fa", [2])
    (kept / f"{KEY}.{KEY}.part").write_bytes(b"of a writer that was killed")
    if is_gone:
        folder.rmdir()
    if is_old:
        make_old(kept)
    return kept


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make_old(kept: Path, days: float = 30) -> None:
    for file in kept.iterdir():
        then = time.time() - days * 24 * 3600
        os.utime(file, (then, then), follow_symlinks=False)


def test_values_of_a_project_that_is_gone_are_removed(tmp_path: Path) -> None:
    gone = project(tmp_path / "gone")
    there = project(tmp_path / "there", is_gone=False)
    fresh = project(tmp_path / "fresh", is_old=False)
    assert remove_abandoned(gone.parent) == [str(tmp_path / "gone")]
    assert not gone.exists()
    assert Store(there, 10**6).get(KEY) == [1]
    assert Store(fresh, 10**6).get(KEY) == [1]
    assert remove_abandoned(gone.parent) == []


def test_a_project_that_became_a_file_is_gone_and_one_that_became_a_link_is_not(
    tmp_path: Path,
) -> None:
    below, linked = project(tmp_path / "file" / "project"), project(tmp_path / "link")
    (tmp_path / "file").rmdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "somewhere")
    assert remove_abandoned(below.parent) == [str(tmp_path / "file" / "project")]
    assert linked.exists()


def test_a_value_that_was_used_lately_stays(tmp_path: Path) -> None:
    gone = project(tmp_path / "gone")
    assert Store(gone, 10**6).get(KEY) == [1]
    assert remove_abandoned(gone.parent) == []
    assert remove_abandoned(gone.parent, unused_s=-60) == [str(tmp_path / "gone")]


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    without_note, wrong_note, relative, open_to_all, mixed, linked_note = (
        project(tmp_path / str(number)) for number in range(6)
    )
    values = mixed.parent
    (without_note / "project").unlink()
    (wrong_note / "project").write_text("/no/such/project")
    (relative / "project").write_text("no/such/project")
    open_to_all.chmod(0o777)
    (mixed / "thesis.txt").write_text("years of work")
    (mixed / "0123456789abcdef.value.txt").write_text("as well")
    (linked_note / "project").rename(tmp_path / "note")
    (linked_note / "project").symlink_to(tmp_path / "note")
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(project(tmp_path / "another"), elsewhere)
    shutil.rmtree(kept_values_folder(tmp_path / "another"))
    kept_values_folder(tmp_path / "another").symlink_to(elsewhere)
    (values / "a file").touch()
    for folder in values.iterdir():
        if folder.is_dir():
            make_old(folder)
    before = {folder: names(folder) for folder in values.iterdir() if folder.is_dir()}
    assert remove_abandoned(values) == []
    after = {folder: names(folder) for folder in values.iterdir() if folder.is_dir()}
    assert after.pop(mixed) == ["0123456789abcdef.value.txt", "thesis.txt"]
    assert before.pop(mixed) != []
    assert after == before
    assert len(names(elsewhere)) == 4


def test_one_start_does_not_remove_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abandoned, "MOST", 2)
    for number in range(5):
        values = project(tmp_path / str(number)).parent
    assert [len(remove_abandoned(values)) for _ in range(4)] == [2, 2, 1, 0]


def test_several_at_once(tmp_path: Path) -> None:
    for number in range(30):
        values = project(tmp_path / str(number)).parent
    threads = [threading.Thread(target=remove_abandoned, args=(values,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert names(values) == []


def test_nothing_has_been_kept_yet(tmp_path: Path) -> None:
    assert remove_abandoned(tmp_path / "values") == []


@pytest.mark.usefixtures("quick_start")
def test_a_daemon_notes_its_project_and_removes_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runtime_folder() as runtime:
        monkeypatch.setenv("XDG_CACHE_HOME", str(runtime / "cache"))
        gone = project(tmp_path / "gone")
        root = tmp_path / "project"
        (root / "pipelines").mkdir(parents=True)
        daemon = Daemon(root, runtime)
        try:
            daemon.serve("main", "def one() -> int:\n    return 1\n")
            eventually(lambda: not gone.exists(), "the end of the values")
            own = kept_values_folder(root)
            assert (own / "project").read_bytes() == os.fsencode(root)
        finally:
            daemon.dispose()
