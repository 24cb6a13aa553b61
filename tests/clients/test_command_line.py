"""The command line where no daemon serves."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from client_processes import HAMDEV, LIMIT_S, Run

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk

COMMANDS = [
    "watch",
    "run",
    "status",
    "result",
    "sync",
    "events",
    "rerun",
    "cancel",
    "stop",
    "socket",
    "init",
]
ASKING = [
    ["status"],
    ["result", "total"],
    ["sync"],
    ["events"],
    ["rerun"],
    ["cancel"],
    ["stop"],
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_one_example(hamdev: Run, command: str) -> None:
    shown = hamdev(command, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.count("Example:") == 1
    assert f"hamdev {command}" in shown.stdout or f"(hamdev {command})" in shown.stdout


def test_every_command_is_listed(hamdev: Run) -> None:
    text = hamdev("--help").stdout
    assert all(f"\n  {command} " in text for command in COMMANDS)


@pytest.mark.parametrize("command", ASKING, ids=lambda words: words[0])
def test_no_daemon_is_status_4_and_says_how_to_start_one(
    hamdev: Run, project: ProjectOnDisk, command: list[str]
) -> None:
    ended = hamdev(*command)
    assert (ended.returncode, ended.stdout) == (4, "")
    assert str(project.root) in ended.stderr
    assert "hamdev watch" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_stale_information_does_not_matter(hamdev: Run, project: ProjectOnDisk) -> None:
    project.write(".hamdev/daemon.json", '{"socket": "/tmp/long-gone.sock", "pid": 1}')
    assert hamdev("status").returncode == 4


def test_socket_that_it_would_have(
    hamdev: Run, project: ProjectOnDisk, environment: dict[str, str]
) -> None:
    shown = hamdev("socket")
    assert shown.returncode == 0
    assert shown.stdout.startswith(environment["XDG_RUNTIME_DIR"])
    assert shown.stdout.endswith(".sock\n")
    project.write("devserver.toml", '[server]\nsocket = "run/dev.sock"\n')
    assert hamdev("socket").stdout == f"{project.root.resolve()}/run/dev.sock\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "PIPELINE"),
        (["nosuch"], "nosuch"),
        (["result"], "NODE"),
        (["result", "x", "--format", "xlsx"], "parquet"),
        (["run", "p", "--input", "n"], "KEY=VALUE"),
        (["run", "p", "--set", "=3"], "KEY=VALUE"),
        (["run", "p", "--log-level", "LOUD"], "warning"),
        (["sync", "no_such_file.py"], "no_such_file.py"),
        (["sync", "--timeout", "-1"], "--timeout"),
        (["--project", "no_such_folder", "status"], "no_such_folder"),
        (["watch"], "[pipelines.PIPELINE]"),
    ],
)
def test_wrong_usage_is_status_2(hamdev: Run, words: list[str], said: str) -> None:
    ended = hamdev(*words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_broken_settings_are_status_2(hamdev: Run, project: ProjectOnDisk) -> None:
    project.write("devserver.toml", "[server]\nlog_levl = 3\n")
    for command in (["watch"], ["run", "p"], ["socket"]):
        ended = hamdev(*command)
        assert ended.returncode == 2
        assert "server.log_levl: unknown key; did you mean 'log_level'?" in ended.stderr


def test_binary_does_not_go_to_a_terminal(
    project: ProjectOnDisk, environment: dict[str, str]
) -> None:
    ours, theirs = pty.openpty()
    try:
        ended = subprocess.run(
            [HAMDEV, "result", "frame", "--format", "parquet"],
            cwd=project.root,
            env=environment,
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert ended.returncode == 2
    assert "-o FILE" in ended.stderr


def imported(words: list[str], cwd: Path, environment: dict[str, str]) -> set[str]:
    script = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
        f"sys.argv = {['hamdev', *words]!r};"
        "from hamdev.clients.cli import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return {name.partition(".")[0] for name in ended.stderr.splitlines()[-1].split()}


@pytest.mark.parametrize("words", ASKING, ids=lambda words: words[0])
def test_clients_import_little(
    project: ProjectOnDisk, environment: dict[str, str], words: list[str]
) -> None:
    heavy = {"hamilton", "pandas", "numpy", "msgspec", "anyio", "asyncio", "rich", "structlog"}
    modules = imported(words, project.root, environment)
    assert "hamdev" in modules
    assert modules.isdisjoint(heavy)


# -- init ----------------------------------------------------------------------------------------


def test_new_project_runs(hamdev: Run, tmp_path: Path, project: ProjectOnDisk) -> None:
    made = hamdev("init", "demo")
    assert (made.returncode, made.stdout) == (0, "")
    demo = project.root / "demo"
    assert str(Path("demo/pipelines/example.py")) in made.stderr
    ended = hamdev("run", "example", "--json", cwd=demo)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {
        "revenue_by_city": {"Lima": 122.0, "Pune": 30.5, "Oslo": 12.5},
        "total": 165.0,
    }


def test_init_overwrites_nothing(hamdev: Run, project: ProjectOnDisk) -> None:
    project.write("example", "# mine\n")
    ended = hamdev("init")
    assert ended.returncode == 2
    assert "pipelines/example.py" in ended.stderr
    assert project.file("example").read_text() == "# mine\n"
    assert not (project.root / "devserver.toml").exists()


# -- run, in its own process ---------------------------------------------------------------------

SUMS = """
    def total(n: int, m: int) -> int:
        print("computing")
        return n + m

    def label(total: int, unit: str) -> str:
        return f"{total} {unit}\\nin all"
"""


def test_options_reach_the_run_and_prints_do_not_reach_stdout(
    hamdev: Run, project: ProjectOnDisk
) -> None:
    project.write("sums", SUMS)
    project.write("devserver.toml", "[pipelines.sums]\ninputs = { n = 1, m = 2 }\n")
    options = ["--input", "n=40", "--set", "unit=mm"]
    options += ["--final-var", "label", "--final-var", "total"]
    ended = hamdev("run", "sums", *options, "--json")
    assert ended.returncode == 0, ended.stderr
    assert list(json.loads(ended.stdout).items()) == [("label", "42 mm\nin all"), ("total", 42)]
    assert "computing" in ended.stderr
    assert hamdev("run", "sums", *options).stdout == "label:\n42 mm\nin all\ntotal: 42\n"


def test_modules_may_be_given_with_commas(hamdev: Run, project: ProjectOnDisk) -> None:
    project.write("one", "def a() -> int: return 1\n")
    project.write("two", "def b() -> int: return 2\n")
    project.write("main", "def c(a: int, b: int) -> int: return a + b\n")
    for options in (["--with", "one,two"], ["--with", "one", "--with", "two"]):
        assert hamdev("run", "main", *options).stdout == "c: 3\n"


def test_value_without_json_is_its_text(hamdev: Run, project: ProjectOnDisk) -> None:
    project.write(
        "odd",
        """
        class Odd:
            def __str__(self) -> str: return "an odd thing"

        def odd() -> Odd: return Odd()
        """,
    )
    assert json.loads(hamdev("run", "odd", "--json").stdout) == {"odd": "an odd thing"}


@pytest.mark.parametrize("async_driver", ["true", "false"])
def test_failure_shows_the_user_s_line_and_no_frames(
    hamdev: Run, project: ProjectOnDisk, async_driver: str
) -> None:
    project.write("devserver.toml", f"[pipelines.bad]\nasync_driver = {async_driver}\n")
    project.write("bad", "def half(n: int) -> float:\n    return n / 0  # oh\n")
    ended = hamdev("run", "bad", "--input", "n=1")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "pipelines/bad.py:2: ZeroDivisionError: division by zero\n" in ended.stderr
    assert "return n / 0  # oh" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "site-packages" not in ended.stderr


def test_syntax_error_is_a_failure_with_its_place(hamdev: Run, project: ProjectOnDisk) -> None:
    project.write("bad", "def x() -> int:\n    return (1\n")
    ended = hamdev("run", "bad")
    assert ended.returncode == 1
    assert "pipelines/bad.py:2: SyntaxError" in ended.stderr
    assert "return (1" in ended.stderr


def test_missing_input_is_a_failure(hamdev: Run, project: ProjectOnDisk) -> None:
    project.write("sums", SUMS)
    ended = hamdev("run", "sums")
    assert ended.returncode == 1
    assert "'n'" in ended.stderr


def test_user_code_that_exits_is_a_failure(hamdev: Run, project: ProjectOnDisk) -> None:
    project.write("bad", "import sys\ndef x() -> int:\n    sys.exit(0)\n")
    ended = hamdev("run", "bad")
    assert ended.returncode == 1
    assert "SystemExit" in ended.stderr


def test_unknown_pipeline_is_wrong_usage(hamdev: Run) -> None:
    ended = hamdev("run", "nosuch-one")
    assert ended.returncode == 2
    assert "'pipelines.nosuch_one'" in ended.stderr


def test_log_lines_as_json(hamdev: Run, project: ProjectOnDisk) -> None:
    project.write("one", "def a() -> int: return 1\n")
    ended = hamdev("run", "one", "--log-format", "json", "--log-level", "debug")
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert {"run started", "node finished", "run finished"} <= {line["event"] for line in lines}
    assert {line["pipeline"] for line in lines} == {"one"}
    assert hamdev("run", "one", "--log-level", "ERROR").stderr == ""


@pytest.mark.parametrize("async_driver", ["true", "false"])
def test_interrupt_ends_user_code_at_once(
    project: ProjectOnDisk, environment: dict[str, str], async_driver: str
) -> None:
    project.write("devserver.toml", f"[pipelines.slow]\nasync_driver = {async_driver}\n")
    project.write(
        "slow",
        """
        import time

        def slow() -> int:
            print("at work")
            time.sleep(600)
            return 1
        """,
    )
    process = subprocess.Popen(
        [HAMDEV, "run", "slow"],
        cwd=project.root,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stderr is not None
            said = iter(process.stderr)
            assert any("at work" in line for line in said)
            process.send_signal(signal.SIGINT)
            rest = "".join(said)
            assert process.wait(LIMIT_S) == 130
            assert "Traceback" not in rest
        finally:
            process.kill()
