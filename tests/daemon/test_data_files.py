"""Data files that nodes and modules read: a change reruns what read them, and nothing else runs."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

from real_daemon import Client, Daemon, running


def next_run(client: Client) -> tuple[dict[str, Any], set[str]]:
    """The next run that ends, and the nodes that ran in it."""
    events = client.until("run.finished")
    ran = {e["node"] for e in events if e["type"] == "node.finished" and e["action"] == "ran"}
    return events[-1], ran


def require_quiet(daemon: Daemon, client: Client) -> None:
    """Nothing runs by itself: two looks at the disk find what is served to be right."""
    before = daemon.sync()
    assert daemon.sync() == before
    client.call("ping")
    assert [e for e in client.events if e["type"] == "run.started"] == []


def test_a_file_that_was_missing_appears(daemon: Daemon) -> None:
    text = """
        def read() -> str:
            return open("missing/in.txt").read()

        def other() -> int:
            return 1
    """
    status = daemon.serve("appears", text)
    assert status["nodes"]["read"]["state"] == "failed"
    client = daemon.subscriber()
    daemon.write("missing/in.txt", "here")
    finished, ran = next_run(client)
    assert (finished["outcome"], ran) == ("ok", {"read"})
    assert daemon.value("read") == "here"
    require_quiet(daemon, client)


def test_a_file_that_made_a_node_fail_is_mended(daemon: Daemon) -> None:
    daemon.write("data/numbers.txt", "1 x")
    text = """
        def numbers() -> list:
            with open("data/numbers.txt") as file:
                return [int(word) for word in file.read().split()]
    """
    assert daemon.serve("mended", text)["nodes"]["numbers"]["state"] == "failed"
    client = daemon.subscriber()
    daemon.write("data/numbers.txt", "1 2")
    finished, ran = next_run(client)
    assert (finished["outcome"], ran) == ("ok", {"numbers"})
    assert daemon.value("numbers") == [1, 2]
    require_quiet(daemon, client)


def test_a_folder_that_is_listed(daemon: Daemon) -> None:
    daemon.write("listed/a.txt", "")
    text = """
        import os

        def listed() -> list:
            return sorted(name for name in os.listdir("listed") if name.endswith(".txt"))
    """
    daemon.serve("lists", text)
    client = daemon.subscriber()
    require_quiet(daemon, client)
    (daemon.root / "listed/b.txt").write_text("")
    finished, ran = next_run(client)
    assert (finished["outcome"], ran) == ("ok", {"listed"})
    assert daemon.value("listed") == ["a.txt", "b.txt"]
    (daemon.root / "listed/b.txt").write_text("its content is of no interest")
    require_quiet(daemon, client)


def test_a_file_too_large_to_be_hashed(daemon: Daemon) -> None:
    file = daemon.write("data/large.bin", "")
    size = 65 * 1024 * 1024
    os.truncate(file, size)
    text = """
        def first() -> str:
            with open("data/large.bin", "rb") as file:
                return file.read(3).hex()
    """
    daemon.serve("large", text)
    assert daemon.value("first") == "000000"
    client = daemon.subscriber()
    require_quiet(daemon, client)
    with file.open("r+b") as stream:
        stream.write(b"abc")
    assert next_run(client)[1] == {"first"}
    assert daemon.value("first") == "616263"
    require_quiet(daemon, client)


def test_what_a_module_reads_when_it_is_loaded(daemon: Daemon) -> None:
    text = """
        RATE = int(open("rates/rate.txt").read())

        def rated() -> int:
            return 10 * RATE

        def other() -> int:
            return 1
    """
    assert daemon.serve("rates", text)["problems"][0]["kind"] == "import"
    client = daemon.subscriber()
    daemon.write("rates/rate.txt", "2")
    finished, ran = next_run(client)
    assert (finished["outcome"], ran) == ("ok", {"rated", "other"})
    daemon.write("rates/rate.txt", "3")
    finished, ran = next_run(client)
    assert (finished["outcome"], ran) == ("ok", {"rated"})
    assert daemon.value("rated") == 30
    assert "rates/rate.txt" in daemon.ask("why", node="rated")["because"][0]["text"]
    require_quiet(daemon, client)
    (daemon.root / "rates/rate.txt").unlink()
    assert next_run(client)[0]["outcome"] == "failed"
    daemon.write("rates/rate.txt", "3")
    assert next_run(client)[0]["outcome"] == "ok"
    assert daemon.value("rated") == 30


def test_what_a_broken_module_has_read_changes(daemon: Daemon) -> None:
    data = daemon.write("data/in.txt", "1")
    text = f"TEXT = open({str(data)!r}).read()\n\ndef words() -> str:\n    return TEXT\n"
    daemon.serve("held", text)
    daemon.save("held", "(\n" + text)
    assert daemon.pipeline("held")["state"] == "failed"
    client = daemon.subscriber()
    daemon.write("data/in.txt", "2")
    finished, _ = next_run(client)
    assert finished["outcome"] == "failed"
    (problem,) = daemon.pipeline("held")["problems"]
    assert problem["kind"] == "syntax"
    require_quiet(daemon, client)
    daemon.save("held", text)
    assert daemon.value("words") == "2"


def test_what_modules_of_two_pipelines_have_read_changes(daemon: Daemon) -> None:
    data = daemon.write("data/in.txt", "1")
    text = f"TEXT = open({str(data)!r}).read()\n\ndef words() -> str:\n    return TEXT\n"
    daemon.save("other_of_two", text)
    daemon.save("one_of_two", text)
    daemon.configure("one_of_two", "other_of_two")
    daemon.sync()
    client = daemon.subscriber()
    for content in ("2", "3", "4"):
        daemon.write("data/in.txt", content)
        events = [*client.until("run.finished"), *client.until("run.finished")]
        changes = [e["files"] for e in events if e["type"] == "files.changed"]
        assert changes == [[str(data)]]
        ends = [(e["pipeline"], e["outcome"]) for e in events if e["type"] == "run.finished"]
        assert ends == [("one_of_two", "ok"), ("other_of_two", "ok")]
        assert daemon.value("words", pipeline="one_of_two") == content
        assert daemon.value("words", pipeline="other_of_two") == content
        require_quiet(daemon, client)


def test_a_file_that_is_replaced_right_after_a_module_has_read_it(
    tmp_path: Path, quick_start: None
) -> None:
    data, other = tmp_path / "in.txt", tmp_path / "other.txt"
    text = f"""
        import subprocess

        def _read(path: str) -> str:
            text = open(path).read()
            subprocess.run(["sh", "-c", "test ! -e {other} || mv {other} " + path])
            return text

        TEXT = _read({str(data)!r})

        def words() -> str:
            return TEXT
    """
    data.write_text("1")
    (tmp_path / "devserver.toml").write_text("[pipelines.replaced]\n")
    # Without events, what the worker says of the file comes before anybody else has looked.
    with running(tmp_path, environment={"HAMDEV_NO_FILE_EVENTS": "1"}) as daemon:
        daemon.serve("replaced", text)
        client = daemon.subscriber()
        other.write_text("3")
        daemon.write("in.txt", "2")
        while client.event("run.finished")["outcome"] != "ok":
            pass
        assert daemon.value("words") == "3"
        assert not other.exists()
        require_quiet(daemon, daemon.subscriber())


def test_a_module_that_writes_what_it_reads(daemon: Daemon) -> None:
    text = """
        from pathlib import Path

        CACHE = Path("made/by_module.txt")
        CACHE.parent.mkdir(exist_ok=True)
        CACHE.write_text(str(len(CACHE.read_text()) + 1) if CACHE.exists() else "1")
        N = CACHE.read_text()

        def n() -> str:
            return N
    """
    daemon.serve("makes", text)
    client = daemon.subscriber()
    require_quiet(daemon, client)


def test_files_that_the_settings_name(daemon: Daemon) -> None:
    """Read by a child process, which nobody hears of but the kernel."""
    text = """
        import subprocess

        def read() -> str:
            command = "cat named/*." + "txt"
            return subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout

        def other() -> int:
            return 1
    """
    daemon.write("named/1.txt", "one")
    daemon.save("named", text)
    daemon.write("devserver.toml", "[watch]\ndata = ['named/*.txt']\n[pipelines.named]\n")
    assert daemon.value("read") == "one"
    client = daemon.subscriber()
    require_quiet(daemon, client)
    daemon.write("named/1.txt", "two")
    assert next_run(client)[1] == {"read"}
    assert daemon.value("read") == "two"
    (daemon.root / "named/2.txt").write_text("three")
    assert next_run(client)[1] == {"read"}
    assert daemon.value("read") == "twothree"
    require_quiet(daemon, client)


def test_sync_waits_for_a_second_look_at_what_a_node_found(daemon: Daemon) -> None:
    text = """
        import os

        def read() -> int:
            try:
                with open("seen/in.txt") as file:
                    found = file.read()
            except FileNotFoundError:
                open("pipe").read()
                raise
            return int(found) + {n}
    """
    file = daemon.write("seen/in.txt", "1")
    daemon.serve("seen", text.format(n=0))
    os.mkfifo(daemon.root / "pipe")
    client = daemon.subscriber()
    file.unlink()
    daemon.save("seen", textwrap.dedent(text).format(n=1))
    client.event("node.started", node="read")
    pipe = (daemon.root / "pipe").open("w")  # the node has found no file
    file.write_text("1")
    with daemon.connect() as other:
        other.send_line(b'{"jsonrpc": "2.0", "id": 1, "method": "sync"}')
        other.send_line(b'{"jsonrpc": "2.0", "id": 2, "method": "ping"}')
        assert other.next_message()["id"] == 2
        pipe.close()
        status = other.next_message()["result"]["pipelines"]["seen"]
    assert (status["state"], status["problems"]) == ("idle", [])
    assert daemon.value("read") == 2
