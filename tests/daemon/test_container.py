"""A daemon that is process 1, as the only command of a container is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from real_daemon import Daemon, runtime_folder

pytestmark = pytest.mark.usefixtures("quick_start")

_UNSHARE = ["unshare", "--user", "--map-current-user", "--pid", "--fork", "--kill-child"]


def _can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*_UNSHARE, "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not _can_unshare(), reason="needs a pid namespace of its own")
def test_process_one_has_workers(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "main.py").write_text(
        "import os\ndef one() -> int:\n    return os.getppid()\n"
    )
    (tmp_path / "devserver.toml").write_text("[pipelines.main]\n")
    with runtime_folder() as runtime:
        daemon = Daemon(tmp_path, runtime, before=_UNSHARE)
        try:
            assert daemon.value("one") == 1
            assert daemon.ask("hello")["pid"] == 1
        finally:
            # It would not tell its number here; `unshare` takes it along.
            daemon.process.kill()
            daemon.process.wait()
