"""How editors, tools and version control save a file: real programs where there is one.

Those that are not driven for real make the same system calls in the same order: VS Code as in
`diskFileSystemProvider.ts` (`doWriteFile`, `doWriteFileAtomic`), JetBrains as in
`SafeFileOutputStream.java`.
"""

from __future__ import annotations

import difflib
import itertools
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

NODE = "value"
# Far below `settle_ms`; what is written by then does not parse.
_PAUSE_S = 0.003
_LIMIT_S = 60.0


def text_of(value: int, tail: int = 3) -> str:
    """A module whose node `value` has this value; all of them are of one size."""
    middle = "".join(f"# line {number}\n" for number in range(20))
    return (
        f"VALUE = (\n    {value}\n)\n{middle}TAIL = {tail}\n\n\n"
        f"def {NODE}() -> int:\n    return VALUE\n"
    )


@dataclass(frozen=True)
class Place:
    """Where it is saved.

    Attributes:
        file: a module that a daemon knows, in a git repository.
        aside: a folder that nobody watches, in the same file system.
    """

    file: Path
    aside: Path

    def put_aside(self, text: str) -> Path:
        """A new file with this text."""
        fresh = self.aside / "fresh.py"
        fresh.unlink(missing_ok=True)
        fresh.write_text(text)
        return fresh

    def run(self, *command: str | Path, stdin: str = "") -> str:
        """What a program prints; it has to succeed."""
        environment = {
            **os.environ,
            **{f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in _WHO},
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": str(self.aside),
            "LC_ALL": "C",
        }
        ended = subprocess.run(
            [str(word) for word in command],
            cwd=self.file.parent.parent,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
        return ended.stdout.strip()

    def reset(self, text: str) -> None:
        """Whatever it is now, let it be a plain file with one name again."""
        if self.file.is_symlink() or self.file.stat().st_nlink > 1:
            fresh = self.file.with_name("fresh.tmp")
            fresh.write_text(text)
            fresh.replace(self.file)

    # -- git ----------------------------------------------------------------------------------

    def git(self, *arguments: str, stdin: str = "") -> str:
        return self.run("git", *arguments, stdin=stdin)

    def commit(self, text: str, *parents: str) -> str:
        """A commit in which the file holds this text; work tree and index are left alone."""
        blob = self.git("hash-object", "-w", "--stdin", stdin=text)
        tree = self.git("mktree", stdin=f"100644 blob {blob}\t{self.file.name}\n")
        root = self.git("mktree", stdin=f"040000 tree {tree}\t{self.file.parent.name}\n")
        options = [word for parent in parents for word in ("-p", parent)]
        return self.git("commit-tree", root, "-m", "x", *options)

    def move_head(self, commit: str) -> None:
        """Let HEAD and index be that commit; the work tree stays."""
        self.git("update-ref", "--no-deref", "HEAD", commit)
        self.git("reset", "-q")


_WHO = ("NAME", "EMAIL")
Save = Callable[[Place, int, int], None]


@dataclass(frozen=True)
class Pattern:
    """One way to save.

    Attributes:
        save: lets the file that holds `text_of(old)` hold `text_of(new)`.
        program: without which it cannot be done.
        states: how many whole contents it may leave for others to see, the last one included.
        has_events: whether the system tells of it at all.
    """

    name: str
    save: Save
    program: str | None = None
    states: int = 1
    has_events: bool = True


PATTERNS: list[Pattern] = []


def _pattern(
    name: str, program: str | None = None, states: int = 1, has_events: bool = True
) -> Callable[[Save], Save]:
    def keep(save: Save) -> Save:
        PATTERNS.append(Pattern(name, save, program, states, has_events))
        return save

    return keep


# -- system calls --------------------------------------------------------------------------------


def _write(path: Path, data: str, flags: int = os.O_TRUNC) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
    try:
        os.write(descriptor, data.encode())
    finally:
        os.close(descriptor)


@_pattern("VS Code")
def _vs_code(place: Place, old: int, new: int) -> None:
    descriptor = os.open(place.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.pwrite(descriptor, text_of(new).encode(), 0)
    os.fdatasync(descriptor)
    os.close(descriptor)


@_pattern("VS Code, atomic")
def _vs_code_atomic(place: Place, old: int, new: int) -> None:
    temporary = place.file.with_name(f"{place.file.name}.vsctmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.pwrite(descriptor, text_of(new).encode(), 0)
    os.fdatasync(descriptor)
    os.close(descriptor)
    temporary.rename(place.file)


@_pattern("JetBrains, safe write")
def _jetbrains(place: Place, old: int, new: int) -> None:
    temporary = place.file.with_name(f"{place.file.name}___jb_tmp___")
    backup = place.file.with_name(f"{place.file.name}___jb_old___")
    _write(temporary, text_of(new))
    backup.unlink(missing_ok=True)
    place.file.rename(backup)
    temporary.rename(place.file)
    place.file.chmod(backup.stat().st_mode)
    backup.unlink()


@_pattern("JetBrains, in place")
def _jetbrains_in_place(place: Place, old: int, new: int) -> None:
    _write(place.file, text_of(new))


@_pattern("formatter on save", states=2)
def _formatter(place: Place, old: int, new: int) -> None:
    _write(place.file, text_of(new).replace("VALUE = (", "VALUE=  ("))
    _write(place.file, text_of(new))


@_pattern("slow network write")
def _slow(place: Place, old: int, new: int) -> None:
    descriptor = os.open(place.file, os.O_WRONLY | os.O_TRUNC)
    for piece in _pieces(text_of(new)):
        time.sleep(_PAUSE_S)  # the writer's own pace is what is tested
        os.write(descriptor, piece.encode())
    os.close(descriptor)


@_pattern("slow network write, a piece an open")
def _slow_reopened(place: Place, old: int, new: int) -> None:
    place.file.write_text("")
    for piece in _pieces(text_of(new)):
        time.sleep(_PAUSE_S)  # the writer's own pace is what is tested
        _write(place.file, piece, os.O_APPEND)


@_pattern("slow network write over the old content")
def _slow_over(place: Place, old: int, new: int) -> None:
    """Blocks arrive out of order, in a file that already has its size."""
    data = text_of(new).encode()
    descriptor = os.open(place.file, os.O_WRONLY | os.O_TRUNC)
    os.ftruncate(descriptor, len(data))
    for start, end in ((100, len(data)), (10, 100), (0, 10)):
        time.sleep(_PAUSE_S)  # the writer's own pace is what is tested
        os.pwrite(descriptor, data[start:end], start)
    os.close(descriptor)


def _pieces(text: str) -> list[str]:
    """Cut where what there is so far does not parse."""
    cuts = [0, text.index("(") + 1, text.index("TAIL = ") + 7, text.index(") ->"), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(cuts)]


@_pattern("truncated, then written")
def _truncated(place: Place, old: int, new: int) -> None:
    os.truncate(place.file, 0)
    _write(place.file, text_of(new), 0)


@_pattern("deleted and made anew")
def _recreated(place: Place, old: int, new: int) -> None:
    place.file.unlink()
    _write(place.file, text_of(new), os.O_EXCL)


@_pattern("moved away and made anew")
def _backup(place: Place, old: int, new: int) -> None:
    place.file.rename(place.file.with_name(f"{place.file.name}~"))
    _write(place.file, text_of(new), os.O_EXCL)


@_pattern("same size and time")
def _same_time(place: Place, old: int, new: int) -> None:
    _write(place.file, text_of(new))
    os.utime(place.file, (1_100_000_000, 1_100_000_000))


@_pattern("same size and time, renamed")
def _same_time_renamed(place: Place, old: int, new: int) -> None:
    fresh = place.put_aside(text_of(new))
    os.utime(fresh, (1_100_000_000, 1_100_000_000))
    fresh.rename(place.file)


@_pattern("older time")
def _older(place: Place, old: int, new: int) -> None:
    _write(place.file, text_of(new))
    os.utime(place.file, (1_000_000_000, 1_000_000_000 - new % 1000))


@_pattern("hard link, written by its other name", has_events=False)
def _other_name(place: Place, old: int, new: int) -> None:
    other = place.aside / "other.py"
    if not (other.exists() and other.samefile(place.file)):
        other.unlink(missing_ok=True)
        other.hardlink_to(place.file)
    _write(other, text_of(new))


@_pattern("symbolic link, target written")
def _target(place: Place, old: int, new: int) -> None:
    if not place.file.is_symlink():
        target = place.aside / "target.py"
        target.write_text(text_of(old))
        link = place.file.with_name("link.tmp")
        link.symlink_to(target)
        link.replace(place.file)
    _write(place.file, text_of(new))


# -- programs ------------------------------------------------------------------------------------


def _vim(place: Place, new: int, options: str) -> None:
    fresh = place.put_aside(text_of(new))
    commands = (f"set {options}", "%delete _", f"0read {fresh}", "wq")
    words = [word for command in commands for word in ("-c", command)]
    place.run("vim", "-es", "-u", "NONE", "-i", "NONE", *words, place.file)


@_pattern("vim", "vim")
def _vim_default(place: Place, old: int, new: int) -> None:
    _vim(place, new, "nobackup writebackup backupcopy=auto")


@_pattern("vim, backup by renaming", "vim")
def _vim_renaming(place: Place, old: int, new: int) -> None:
    _vim(place, new, "backup writebackup backupcopy=no")


@_pattern("vim, backup by copying", "vim")
def _vim_copying(place: Place, old: int, new: int) -> None:
    _vim(place, new, "backup writebackup backupcopy=yes")


@_pattern("vim, without backup", "vim")
def _vim_plain(place: Place, old: int, new: int) -> None:
    _vim(place, new, "nobackup nowritebackup")


def _emacs(place: Place, new: int, settings: str) -> None:
    fresh = place.put_aside(text_of(new))
    program = (
        f"(progn (setq vc-handled-backends nil {settings})"
        f' (find-file "{place.file}") (erase-buffer)'
        f' (insert-file-contents "{fresh}") (save-buffer))'
    )
    place.run("emacs", "-Q", "--batch", "--eval", program)


@_pattern("emacs", "emacs")
def _emacs_default(place: Place, old: int, new: int) -> None:
    _emacs(place, new, "make-backup-files t")


@_pattern("emacs, backup by copying", "emacs")
def _emacs_copying(place: Place, old: int, new: int) -> None:
    _emacs(place, new, "make-backup-files t backup-by-copying t")


@_pattern("emacs, without backup", "emacs")
def _emacs_plain(place: Place, old: int, new: int) -> None:
    _emacs(place, new, "make-backup-files nil")


@_pattern("emacs, precious", "emacs")
def _emacs_precious(place: Place, old: int, new: int) -> None:
    _emacs(place, new, "make-backup-files nil file-precious-flag t")


@_pattern("sed -i", "sed")
def _sed(place: Place, old: int, new: int) -> None:
    lines = text_of(new).splitlines()[1], text_of(old).splitlines()[1]
    place.run("sed", "-i", f"s/^{lines[1]}$/{lines[0]}/", place.file)


@_pattern("patch", "patch")
def _patch(place: Place, old: int, new: int) -> None:
    lines = (text_of(value).splitlines(keepends=True) for value in (old, new))
    difference = "".join(difflib.unified_diff(*lines, "a", "b"))
    place.run("patch", "-s", place.file, stdin=difference)


@_pattern("rsync -t", "rsync")
def _rsync(place: Place, old: int, new: int) -> None:
    fresh = place.put_aside(text_of(new))
    os.utime(fresh, (1_200_000_000, 1_200_000_000 + new % 1000))
    place.run("rsync", "-t", fresh, place.file)


@_pattern("rsync -t --inplace", "rsync")
def _rsync_in_place(place: Place, old: int, new: int) -> None:
    fresh = place.put_aside(text_of(new))
    os.utime(fresh, (1_300_000_000, 1_300_000_000 + new % 1000))
    place.run("rsync", "-t", "--inplace", "--whole-file", fresh, place.file)


@_pattern("cp", "cp")
def _cp(place: Place, old: int, new: int) -> None:
    place.run("cp", place.put_aside(text_of(new)), place.file)


@_pattern("cp -p --remove-destination", "cp")
def _cp_removing(place: Place, old: int, new: int) -> None:
    place.run("cp", "-p", "--remove-destination", place.put_aside(text_of(new)), place.file)


@_pattern("mv", "mv")
def _mv(place: Place, old: int, new: int) -> None:
    place.run("mv", "-f", place.put_aside(text_of(new)), place.file)


@_pattern("ln -f", "ln")
def _ln(place: Place, old: int, new: int) -> None:
    place.run("ln", "-f", place.put_aside(text_of(new)), place.file)


@_pattern("ln -sf", "ln")
def _ln_symbolic(place: Place, old: int, new: int) -> None:
    target = place.aside / f"target_{new % 2}.py"
    target.unlink(missing_ok=True)
    target.write_text(text_of(new))
    place.run("ln", "-sf", target, place.file)


# -- git -----------------------------------------------------------------------------------------


@_pattern("git checkout", "git")
def _git_checkout(place: Place, old: int, new: int) -> None:
    place.move_head(place.commit(text_of(old)))
    place.git("checkout", "-q", "--detach", place.commit(text_of(new)))


@_pattern("git checkout of a file", "git")
def _git_checkout_file(place: Place, old: int, new: int) -> None:
    place.git("checkout", "-q", place.commit(text_of(new)), "--", str(place.file))


@_pattern("git stash", "git")
def _git_stash(place: Place, old: int, new: int) -> None:
    place.move_head(place.commit(text_of(new)))
    place.git("stash", "push", "-q")
    place.git("stash", "drop", "-q")


@_pattern("git stash pop", "git")
def _git_stash_pop(place: Place, old: int, new: int) -> None:
    head = place.commit(text_of(old))
    place.move_head(head)
    index = place.commit(text_of(old), head)
    place.git("stash", "store", place.commit(text_of(new), head, index))
    place.git("stash", "pop", "-q")


@_pattern("git rebase", "git")
def _git_rebase(place: Place, old: int, new: int) -> None:
    """Three commits on top of the new value, each of which changes another line of the file."""
    base = place.commit(text_of(old, tail=0))
    onto = place.commit(text_of(new, tail=0), base)
    topic = base
    for tail in (1, 2, 3):
        topic = place.commit(text_of(old, tail), topic)
    place.move_head(topic)
    place.git("rebase", "-q", onto)
