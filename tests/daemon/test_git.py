"""Whether git is at work: its traces in real repositories, and time as a number."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hamdev.daemon.git import MAX_PATIENCE_S, PATIENCE_S, STEP_S, GitWatch, git_folders


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, timeout=30
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "a.py").write_text("x = 1\n")
    git(folder, "add", "a.py")
    git(folder, "commit", "-q", "-m", "one")
    return folder


class Asked:
    """One that asks whether git is busy with `a.py`, at times that the test chooses."""

    def __init__(self, folder: Path) -> None:
        self.file = str(folder / "a.py")
        self.warnings: list[str] = []
        self._watch = GitWatch(self.warnings.append)

    def busy(self, now: float, written_at: float | None = None) -> bool:
        """`now` is in seconds since the lock, or git's folder, was written."""
        (folder,) = git_folders([self.file])
        lock = Path(folder) / "index.lock"
        wall = (lock if lock.exists() else Path(folder)).stat().st_mtime + now
        written_at = now if written_at is None else written_at
        return self._watch.is_busy([self.file], written_at, now, wall)


def test_work_trees_and_where_git_keeps_their_state(repository, tmp_path):
    git(repository, "worktree", "add", "-q", str(tmp_path / "linked"))
    (repository / "deep" / "er").mkdir(parents=True)
    assert git_folders([f"{repository}/deep/er/x.py", f"{repository}/a.py"]) == {
        f"{repository}/.git"
    }
    assert git_folders([f"{tmp_path}/linked/a.py"]) == {f"{repository}/.git/worktrees/linked"}
    assert git_folders([f"{tmp_path}/a.py"]) == set()
    assert git_folders([f"{tmp_path}/a.py", f"{repository}/a.py"]) == {f"{repository}/.git"}


def test_a_submodule_has_a_folder_of_its_own(repository, tmp_path):
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(repository), "sub")
    (folder,) = git_folders([f"{outer}/sub/a.py"])
    assert os.path.realpath(folder) == f"{outer}/.git/modules/sub"


def test_a_git_file_that_says_nothing_is_none(tmp_path):
    (tmp_path / ".git").write_text("what?")
    assert git_folders([f"{tmp_path}/a.py"]) == set()


def test_busy_while_the_lock_is_there(repository):
    asked = Asked(repository)
    assert not asked.busy(0.0)
    lock = repository / ".git" / "index.lock"
    lock.touch()
    assert asked.busy(0.0)
    assert asked.busy(PATIENCE_S + 1, written_at=PATIENCE_S)
    lock.unlink()
    assert not asked.busy(1.0)
    assert asked.warnings == []


def test_a_lock_that_stays_while_nothing_is_written_is_given_up_on_once(repository):
    asked = Asked(repository)
    lock = repository / ".git" / "index.lock"
    lock.touch()
    assert asked.busy(1.0, written_at=1.0)
    assert not asked.busy(1.0 + PATIENCE_S, written_at=1.0)
    assert not asked.busy(2.0 + PATIENCE_S)
    assert len(asked.warnings) == 1
    assert str(lock) in asked.warnings[0]
    # The next command has a lock of its own.
    lock.unlink()
    assert not asked.busy(1.0)
    lock.touch()
    assert asked.busy(0.0)


def test_a_lock_is_given_up_on_in_the_end_however_much_is_written(repository):
    asked = Asked(repository)
    (repository / ".git" / "index.lock").touch()
    assert asked.busy(MAX_PATIENCE_S - 1)
    assert not asked.busy(MAX_PATIENCE_S + 0.001)  # file times are rounded
    assert not asked.busy(MAX_PATIENCE_S + 1)


def test_between_the_steps_of_a_rebase_it_is_busy_and_in_a_conflict_it_is_not(repository):
    git(repository, "switch", "-q", "-c", "side")
    (repository / "a.py").write_text("x = 2\n")
    git(repository, "commit", "-q", "-a", "-m", "two")
    git(repository, "switch", "-q", "main")
    (repository / "a.py").write_text("x = 3\n")
    git(repository, "commit", "-q", "-a", "-m", "three")
    with pytest.raises(subprocess.CalledProcessError):
        git(repository, "rebase", "-q", "side")
    asked = Asked(repository)
    assert not (repository / ".git" / "index.lock").exists()
    assert asked.busy(0.0)
    assert asked.busy(STEP_S / 2)
    # It took a step after the clock was read.
    assert asked.busy(-STEP_S / 2)
    assert not asked.busy(2 * STEP_S)
    git(repository, "rebase", "--abort")
    assert not asked.busy(0.0)
    assert asked.warnings == []
