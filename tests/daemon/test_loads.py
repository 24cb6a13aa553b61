"""Loads that hang, fail half-way or leave modules behind: the daemon still knows what to watch."""

from __future__ import annotations

from real_daemon import Daemon

HANGS = "print('hanging')\nwhile True:\n    pass\n\ndef one() -> int:\n    return 1\n"
GOOD = "def one() -> int:\n    return 2\n"


def test_what_hangs_in_its_very_first_load_can_be_mended(daemon: Daemon) -> None:
    client = daemon.subscriber()
    daemon.save("hangs", HANGS)
    daemon.configure("hangs")
    while "hanging" not in client.event("output")["text"]:
        pass
    daemon.save("hangs", GOOD)
    daemon.sync()
    assert daemon.value("one") == 2


def test_an_edited_statement_that_hangs_is_interrupted_and_the_worker_stays(daemon: Daemon) -> None:
    text = "LIMIT = {}\n\ndef one() -> int:\n    return LIMIT\n"
    daemon.serve("edited", text.format(1))
    workers = daemon.workers()
    client = daemon.subscriber()
    daemon.save("edited", text.format("print('hanging') or [None for _ in iter(int, 1)]"))
    while "hanging" not in client.event("output")["text"]:
        pass
    daemon.save("edited", text.format(2))
    daemon.sync()
    assert daemon.value("one") == 2
    assert daemon.workers() == workers


def test_a_broken_module_and_a_change_of_another_one_saved_together(daemon: Daemon) -> None:
    daemon.write("pipelines/_helper.py", "FACTOR = 10\n")
    text = "from pipelines._helper import FACTOR\n\ndef one() -> int:\n    return FACTOR\n"
    daemon.serve("both", text)
    assert daemon.value("one") == 10
    # In one revision, as a checkout writes them.
    (daemon.root / "pipelines/_helper.py").write_text("FACTOR = 11\n")
    (daemon.root / "pipelines/both.py").write_text(text + "\ndef two( -> int:\n")
    status = daemon.sync()["pipelines"]["both"]
    assert status["state"] == "failed"
    last_run = status["run"]
    # Nobody is still arguing about what the files hold.
    assert daemon.sync()["pipelines"]["both"]["run"] == last_run
    daemon.save("both", text)
    daemon.sync()
    assert daemon.value("one") == 11
    assert daemon.sync()["pipelines"]["both"]["run"] == last_run + 1


def test_a_module_that_is_no_longer_imported_may_go(daemon: Daemon) -> None:
    daemon.write("pipelines/_unused.py", "FACTOR = 10\n")
    text = "from pipelines._unused import FACTOR\n\ndef one() -> int:\n    return FACTOR\n"
    daemon.serve("leaves", text)
    daemon.save("leaves", GOOD)
    daemon.sync()
    (daemon.root / "pipelines/_unused.py").unlink()
    daemon.save("leaves", GOOD.replace("2", "3"))
    run = daemon.sync()["pipelines"]["leaves"]["run"]
    assert daemon.value("one") == 3
    assert daemon.sync()["pipelines"]["leaves"]["run"] == run
