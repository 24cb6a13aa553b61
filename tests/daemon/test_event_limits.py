"""The system refuses file events: said once, saves are found all the same, and it heals."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from real_daemon import Daemon, eventually, runtime_folder

from hamdev.daemon import inotify

pytestmark = [
    pytest.mark.usefixtures("quick_start"),
    pytest.mark.skipif(not inotify.is_available, reason="Linux has such limits"),
]

ONE = "def one() -> int:\n    return {}\n"
HEARD = "file event  "


def in_own_namespace() -> list[str]:
    """What to put before a command so that its limits are its own."""
    unshare = ["unshare", "--user", "--map-root-user", "--"]
    probe = [*unshare, "test", "-w", "/proc/sys/user/max_inotify_watches"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("user namespaces are not allowed here")
    return unshare


# One watch is for the project's folder, which has devserver.toml.
@pytest.mark.parametrize(("what", "limit"), [("instances", 0), ("watches", 1)])
def test_a_limit_that_is_reached_and_then_raised(tmp_path: Path, what: str, limit: int) -> None:
    heal = tmp_path / "heal"
    os.mkfifo(heal)
    system = f"/proc/sys/user/max_inotify_{what}"
    script = f'echo {limit} > {system}; cat {heal} > {system} & exec "$@"'
    root = tmp_path / "project"
    (root / "pipelines").mkdir(parents=True)
    (root / "pipelines" / "one.py").write_text(ONE.format(1))
    (root / "devserver.toml").write_text("[watch]\nsweep_ms = 200\n[pipelines.one]\n")
    before = [*in_own_namespace(), "sh", "-c", script, "sh"]
    with runtime_folder() as runtime:
        daemon = Daemon(root, runtime, ["--log-level", "DEBUG"], before)
        try:
            client = daemon.subscriber(since=0)
            seen = client.until("run.finished", outcome="ok")
            for value in (2, 3):
                daemon.save("one", ONE.format(value))
                seen += client.until("node.finished", node="one")
                assert seen[-1]["summary"]["text"] == str(value)
            warnings = [event["message"] for event in seen if event["type"] == "warning"]
            assert len(warnings) == 1
            assert f"fs.inotify.max_user_{what}" in warnings[0]
            assert HEARD not in daemon.log_text()
            heal.write_text("1000\n")
            # It asks again when there is another folder to watch, or after a while.
            daemon.write("elsewhere/far.py", "X = 4\n")
            daemon.save("one", "from elsewhere import far\n\n" + ONE.format("far.X"))
            assert daemon.value("one") == 4
            daemon.write("elsewhere/far.py", "X = 5\n")
            eventually(lambda: HEARD in daemon.log_text(), "an event")
            assert daemon.value("one") == 5
            assert daemon.ask("status")["pipelines"]["one"]["problems"] == []
        finally:
            daemon.dispose()
