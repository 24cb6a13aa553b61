"""`hamdev watch` in a real terminal, driven by its keys and by saves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import pytest
from client_processes import HAMDEV, Daemon
from pseudo_terminal import LIMIT_S, PseudoTerminal, terminal

from hamdev.clients.client import connect

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk

DRY = """
    def rain() -> list:
        return [0, 0, 3, 0, 1, 0, 0, 0]

    def is_wet(rain: list) -> list:
        return [mm >= 1 for mm in rain]

    def wet_days(is_wet: list) -> int:
        return sum(is_wet)
"""
Watch = Callable[..., AbstractContextManager[PseudoTerminal]]


@pytest.fixture
def dry(project: ProjectOnDisk) -> ProjectOnDisk:
    project.write("dry", DRY)
    return project


@pytest.fixture
def watching(dry: ProjectOnDisk, environment: dict[str, str]) -> Watch:
    """`hamdev watch dry` in a terminal, once its first run has been shown."""

    @contextmanager
    def started(columns: int = 80, **variables: str) -> Iterator[PseudoTerminal]:
        command = [HAMDEV, "watch", "dry"]
        with terminal(command, dry.root, environment | variables, columns) as shown:
            shown.wait_for(r"^  ok in .* ran")
            yield shown

    return started


def save(project: ProjectOnDisk, text: str) -> None:
    fresh = project.write("dry.new", text)
    fresh.replace(project.file("dry"))


def test_a_save_shows_which_line_changed_which_value(dry: ProjectOnDisk, watching: Watch) -> None:
    with watching() as shown:
        assert "hamdev" in shown.lines[0]
        assert f"watches {dry.root}"[:40] in shown.text.replace("\n", "")
        assert "keys: r rerun, c clean rerun, w page, q quit, ? help" in shown.lines
        save(dry, DRY.replace("mm >= 1", "mm > 1"))
        shown.wait_for(r"2 ran, 1 reused")
        lines = shown.lines
        begin = next(i for i, line in enumerate(lines) if "dry.py changed · revision 2" in line)
        assert lines[begin - 1] == ""
        assert lines[begin + 1 : begin + 4] == [
            "  pipelines/dry.py:6  - return [mm >= 1 for mm in rain]",
            "                      + return [mm > 1 for mm in rain]",
            "  because is_wet changed at pipelines/dry.py:5",
        ]
        row = next(line for line in lines[begin:] if line.startswith("    wet_days"))
        assert "2 → 1" in row
        assert row.endswith(" ms")
        assert b"\x1b[" in shown.raw  # in colour


def test_a_comment_and_a_broken_module(dry: ProjectOnDisk, watching: Watch) -> None:
    with watching(columns=120) as shown:
        save(dry, DRY + "\n    # a remark\n")
        line = shown.wait_for(r"^.*comment or formatting only: 0 nodes ran, 3 reused.*$")
        assert "revision 2" in next(x for x in line.splitlines() if "formatting" in x)
        save(dry, DRY.replace("sum(is_wet)", "sum(is_wet"))
        shown.wait_for("the values of revision 2 are still served")
        lines = shown.lines
        begin = next(i for i, text in enumerate(lines) if "was never closed" in text)
        assert lines[begin : begin + 4] == [
            "  SyntaxError: '(' was never closed",
            "    pipelines/dry.py:9",
            "        return sum(is_wet",
            "                  ^",
        ]
        save(dry, DRY)
        shown.wait_for("ok again: 0 nodes ran, 3 reused")
        save(dry, DRY.replace("sum(is_wet)", "sum(is_wet) / 0"))
        text = shown.wait_for("1 failed, 0 ran, 2 reused")
        assert "  wet_days: ZeroDivisionError: division by zero" in text
        assert "    pipelines/dry.py:9 in wet_days" in text


def test_an_edit_that_depends_on_nothing_is_no_formatting(
    dry: ProjectOnDisk, watching: Watch
) -> None:
    with watching(columns=120) as shown:
        save(dry, DRY + "\n    _unused = 3\n")
        shown.wait_for("no node depends on that: 0 nodes ran, 3 reused")


def test_an_endless_loop_shows_progress_and_ends_with_the_fix(
    dry: ProjectOnDisk, watching: Watch
) -> None:
    with watching() as shown:
        endless = (
            "    while True:\n            print('round')\n            __import__('time').sleep(.05)"
        )
        save(dry, DRY.replace("    return sum(is_wet)", endless))
        text = shown.wait_for(r"running 1 of 1: wet_days \d+\.\d s · round")
        assert text.splitlines()[-1].lstrip("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ").startswith("running")
        save(dry, DRY.replace("sum(is_wet)", "sum(is_wet) + 1"))
        text = shown.wait_for("2 → 3")
        assert "  run 2 (dry.py changed) was stopped for a newer save after" in text
        shown.until(lambda: "running" not in shown.text, "the progress line goes")


def waiting(project: ProjectOnDisk, name: str) -> str:
    """A node that prints, and ends when there is such a file; its question is no reading of it."""
    return (
        "    print('be' + 'gun')\n"
        f"        while not __import__('os').access({str(project.root / name)!r}, 0):\n"
        "            __import__('time').sleep(.01)\n"
        "        print('en' + 'ded')\n"
        "        return sum(is_wet) + 1"
    )


def test_what_a_long_run_prints_is_shown_as_it_comes_and_once(
    dry: ProjectOnDisk, watching: Watch
) -> None:
    with watching() as shown:
        save(dry, DRY.replace("    return sum(is_wet)", waiting(dry, "go")))
        text = shown.wait_for("│ begun")
        assert "  printed by wet_days\n    │ begun" in text
        shown.wait_for(r"^\S running 1 of 1: wet_days")
        (dry.root / "go").touch()
        text = shown.wait_for("ok in .*: 1 ran, 2 reused")
        assert "  more printed by wet_days\n    │ ended" in text
        assert text.count("│ begun") == 1


def test_in_a_pipe_output_is_written_as_it_comes_too(
    dry: ProjectOnDisk, environment: dict[str, str]
) -> None:
    dry.write("dry", DRY.replace("    return sum(is_wet)", waiting(dry, "go")))
    daemon = Daemon(dry.root, environment, "dry")
    try:
        daemon.wait_until_serving()
        deadline = time.monotonic() + LIMIT_S
        while "begun" not in "".join(daemon.log):
            assert time.monotonic() < deadline, "".join(daemon.log)
            time.sleep(0.01)
        (dry.root / "go").touch()
        with connect(dry.root) as dev:
            dev.sync()
    finally:
        daemon.end()
    assert "".join(daemon.log).count("begun") == 1


def test_without_colour(dry: ProjectOnDisk, watching: Watch) -> None:
    with watching(NO_COLOR="1") as shown:
        save(dry, DRY.replace("mm >= 1", "mm > 1"))
        shown.wait_for(r"2 ran, 1 reused")
        assert b"\x1b[3" not in shown.raw
        assert b"\x1b[1m" not in shown.raw


def test_a_dumb_terminal_gets_no_escapes(dry: ProjectOnDisk, watching: Watch) -> None:
    with watching(TERM="dumb") as shown:
        save(dry, DRY.replace("mm >= 1", "mm > 1"))
        shown.wait_for(r"2 ran, 1 reused")
        assert b"\x1b" not in shown.raw


@pytest.mark.parametrize(("encoding", "arrow"), [("utf-8", "2 → 1"), ("ascii", "2 -> 1")])
def test_a_pipe_gets_plain_lines(
    dry: ProjectOnDisk, environment: dict[str, str], encoding: str, arrow: str
) -> None:
    daemon = Daemon(dry.root, environment | {"PYTHONIOENCODING": encoding}, "dry")
    try:
        daemon.wait_until_serving()
        with connect(dry.root) as dev:
            dev.sync()
            save(dry, DRY.replace("mm >= 1", "mm > 1") + "    # \x1b[31m\n")
            dev.sync()
    finally:
        daemon.end()
    text = "".join(daemon.log)
    assert f"wet_days  {arrow}" in text
    assert "\x1b" not in text
    assert "\r" not in text
    assert "keys:" not in text


def test_keys(dry: ProjectOnDisk, watching: Watch) -> None:
    with watching() as shown:
        shown.until(lambda: shown.takes_single_keys, "single keys are taken")
        shown.send("?")
        shown.wait_for(r"^  c      clean rerun")
        shown.send("r")
        shown.wait_for("rerun asked for · revision 1")
        shown.wait_for("3 ran, 0 reused", 2)
        shown.send("c")
        shown.wait_for("clean rerun asked for")
        shown.wait_for("3 ran, 0 reused", 3)
        shown.send("w")
        shown.wait_for("page")
        # Pasted, and keys for which a terminal sends several characters at once.
        for keys in ("rcq", "\x1b[A"):
            shown.send(keys)
            said = shown.raw.count(b"clean rerun:")

            def helped(said: int = said) -> bool:
                # It may be read together with what was sent before, and then counts for nothing.
                shown.send("?")
                return shown.raw.count(b"clean rerun:") > said

            shown.until(helped, "help")

        def ended() -> bool:
            shown.send("q")
            return shown.process.poll() is not None

        shown.until(ended, "the end")
        assert shown.end() == 0
        assert shown.mode == shown.mode_before
        assert shown.text.count("asked for") == 2


# Under nohup a hang-up is ignored, and so it is by what was started there.
HANG_UP = pytest.param(
    signal.SIGHUP,
    marks=pytest.mark.skipif(
        signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="SIGHUP is ignored here"
    ),
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, HANG_UP, signal.SIGQUIT])
def test_the_terminal_is_left_as_it_was(watching: Watch, number: signal.Signals) -> None:
    with watching() as shown:
        shown.until(lambda: shown.takes_single_keys, "single keys are taken")
        shown.process.send_signal(number)
        assert shown.end() == (-number if number is signal.SIGQUIT else 0)
        assert shown.mode == shown.mode_before


def test_enter_gives_an_empty_line(watching: Watch) -> None:
    with watching() as shown:
        shown.until(lambda: shown.takes_single_keys, "single keys are taken")
        before = shown.raw.count(b"\n")
        shown.send("\r")
        shown.until(lambda: shown.raw.count(b"\n") == before + 1, "an empty line")


def test_stopped_by_the_shell_and_sent_to_the_background(
    dry: ProjectOnDisk, environment: dict[str, str]
) -> None:
    shell = ["bash", "--norc", "--noprofile", "-i"]
    with terminal(shell, dry.root, environment | {"PS1": "$ "}) as shown:
        shown.wait_for(r"^\$")
        shown.send(f"{HAMDEV} watch dry\r")
        shown.wait_for("3 ran, 0 reused")
        shown.until(lambda: shown.takes_single_keys, "single keys are taken")
        shown.send("\x1a")
        shown.wait_for("Stopped")
        shown.send("stty -a | grep -o -- '-*icanon'\r")
        shown.wait_for(r"^icanon")

        shown.send("bg\r")
        shown.wait_for(r"watch dry &")
        shown.send("echo r in the shell\r")
        shown.wait_for(r"^r in the shell")
        save(dry, DRY.replace("mm >= 1", "mm > 1"))
        shown.wait_for(r"2 ran, 1 reused")
        shown.send("jobs\r")
        shown.wait_for(r"Running")
        assert "asked for" not in shown.text

        shown.send("fg\r")
        shown.until(lambda: shown.takes_single_keys, "single keys are taken again")
        shown.send("r")
        shown.wait_for("rerun asked for")
        shown.wait_for("3 ran, 0 reused", 2)
        shown.send("q")
        shown.wait_for(r"stopping(.|\n)*^\$")
        shown.send("exit\r")
        assert shown.end() == 0


def test_a_background_job_is_not_stopped(dry: ProjectOnDisk, environment: dict[str, str]) -> None:
    shell = ["bash", "--norc", "--noprofile", "-i"]
    with terminal(shell, dry.root, environment | {"PS1": "$ "}) as shown:
        shown.wait_for(r"^\$")
        shown.send(f"stty tostop; {HAMDEV} watch dry &\r")
        shown.wait_for("3 ran, 0 reused")
        shown.send("jobs\r")
        shown.wait_for(r"Running")
        shown.send(f"{HAMDEV} stop; wait; echo status $?; exit\r")
        shown.wait_for("status 0")
        assert shown.end() == 0


def test_a_terminal_that_nobody_reads_delays_nobody(
    dry: ProjectOnDisk, environment: dict[str, str]
) -> None:
    chatty = "    print('x' * 200_000)\n        return sum(is_wet) + {}"
    with (
        terminal([HAMDEV, "watch", "dry", "--log-level", "DEBUG"], dry.root, environment) as shown,
    ):
        shown.wait_for("3 ran, 0 reused")
        shown.stop_reading()
        with connect(dry.root) as dev:
            # Many times as much as terminal, queue and buffers hold.
            for number in range(1, 41):
                save(dry, DRY.replace("    return sum(is_wet)", chatty.format(number)))
                dev.sync()
                assert dev.result("wet_days") == 2 + number
        shown.go_on_reading()
        # It may scroll away before somebody looks at the screen.
        said = b"blocks or lines were left out: nobody read them"
        shown.until(lambda: said in shown.raw, "what was left out")
        shown.wait_for("41 → 42")


def test_it_ends_though_nobody_reads(dry: ProjectOnDisk, environment: dict[str, str]) -> None:
    with terminal([HAMDEV, "watch", "dry", "--log-level", "DEBUG"], dry.root, environment) as shown:
        shown.wait_for("3 ran, 0 reused")
        shown.stop_reading()
        with connect(dry.root) as dev:
            for number in range(1, 30):
                text = f"    print('x' * 200_000)\n        return {number}"
                save(dry, DRY.replace("    return sum(is_wet)", text))
                dev.sync()
            dev.shutdown()
        assert shown.end() == 0
        assert shown.mode == shown.mode_before


def test_a_closed_stderr_and_stdin_cost_nothing(
    dry: ProjectOnDisk, environment: dict[str, str]
) -> None:
    process = subprocess.Popen(
        [HAMDEV, "watch", "dry"],
        cwd=dry.root,
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        assert process.stdin is not None
        while b"serving" not in process.stderr.readline():
            pass
        process.stderr.close()
        process.stdin.close()
        with connect(dry.root) as dev:
            dev.sync()
            save(dry, DRY.replace("mm >= 1", "mm > 1"))
            dev.sync()
            assert dev.result("wet_days") == 1
            dev.shutdown()
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait()


def test_a_level_that_changes_while_it_runs(dry: ProjectOnDisk, watching: Watch) -> None:
    settings = '[pipelines.dry]\n[server]\nlog_level = "{}"\nlog_format = "{}"\n'
    with watching() as shown, connect(dry.root) as dev:
        dry.write("devserver.toml", settings.format("ERROR", "console"))
        dev.sync()
        save(dry, DRY.replace("mm >= 1", "mm > 1"))
        dev.sync()
        save(dry, DRY.replace("mm >= 1", "mm >= nothing"))
        shown.wait_for("is_wet: NameError: name 'nothing' is not defined")
        assert "2 → 1" not in shown.text
        dry.write("devserver.toml", settings.format("INFO", "json"))
        dev.sync()
        save(dry, DRY)
        shown.wait_for('"event": "run finished"')
        assert "ok again" not in shown.text


def test_the_page_is_opened_in_the_browser() -> None:
    script = (
        "import sys, threading; from hamdev.clients.terminal.browser import open_page\n"
        "print(open_page(sys.argv[1]))\n"
        "for t in threading.enumerate():\n"
        "    if t is not threading.main_thread(): t.join()\n"
    )
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_TTY")
    }

    def said(**variables: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", script, "http://127.0.0.1:1/"],
            env=clean | variables,
            capture_output=True,
            text=True,
            check=True,
            timeout=LIMIT_S,
        ).stdout

    if sys.platform != "darwin":
        assert said() == "False\n"
    assert said(SSH_CONNECTION="a b", DISPLAY=":0") == "False\n"
    assert "http://127.0.0.1:1/" in said(BROWSER="echo")
