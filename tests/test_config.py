"""Every mistake in `devserver.toml` is located, and none is guessed away."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamdev.config import Settings, load_settings, parse_settings
from hamdev.errors import SettingsError


def mistakes(text: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        parse_settings(text.encode(), "/p/devserver.toml")
    return caught.value


def test_without_a_file_the_defaults_hold(tmp_path: Path):
    assert load_settings(tmp_path) == Settings()


def test_an_empty_file_is_the_defaults():
    settings = parse_settings(b"")
    assert settings == Settings()
    assert (settings.watch.settle_ms, settings.watch.sweep_ms) == (10, 1000)
    assert settings.server.log_level == "INFO"


def test_every_key_of_the_contract_is_known():
    settings = parse_settings(
        b"""
        [server]
        log_level = "DEBUG"
        log_format = "json"
        socket = "/run/x.sock"
        web = false
        web_port = 8080
        [watch]
        settle_ms = 0
        sweep_ms = 50
        data = ["data/**/*.parquet"]
        ignore = ["scratch/"]
        pipelines_dir = "flows"
        [pipelines.one]
        with = ["setup"]
        final_vars = ["total"]
        inputs = { n = 3 }
        config = { mode = "fast" }
        async_driver = false
        executor = "threads"
        executor_options = { max_workers = 4 }
        with_adapter = { progressbar = true, other = { level = 1 } }
        timeout_s = 2
        """
    )
    one = settings.pipelines["one"]
    assert (one.with_, one.inputs, one.timeout_s) == (("setup",), {"n": 3}, 2.0)
    assert one.with_adapter == {"progressbar": True, "other": {"level": 1}}
    assert settings.watch.pipelines_dir == "flows"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("\n[server]\nlog_levl = 'INFO'", 3, ["server.log_levl", "'log_level'"]),
        ("[server]\nlog_level = 'LOUD'", 2, ["server.log_level", "'LOUD'", "INFO"]),
        ("[server]\nlog_level = 'DEBG'", 2, ["server.log_level", "'DEBG'", "'DEBUG'"]),
        ("[server]\nweb = 'yes'", 2, ["server.web", "'yes'", "bool"]),
        ("[server]\nweb_port = 70000", 2, ["server.web_port", "70000", "65535"]),
        ("[watch]\n\nsettle_ms = 1.5", 3, ["watch.settle_ms", "1.5", "int"]),
        ("[watch]\nsettle_ms = -1", 2, ["watch.settle_ms", "-1"]),
        ("[watch]\nsweep_ms = 1", 2, ["watch.sweep_ms", "20"]),
        ("[watch]\ndata = 'x'", 2, ["watch.data", "'x'", "array"]),
        ("[watch]\npipelines_dir = '../x'", 2, ["watch.pipelines_dir", "'../x'"]),
        ("[pipelines.a]\nexecutor = 'thread'", 2, ["pipelines.a.executor", "'threads'"]),
        ("[pipelines.a]\nwiht = []", 2, ["pipelines.a.wiht", "'with'"]),
        ("[pipelines.a]\ntimeout_s = -1", 2, ["pipelines.a.timeout_s", "-1"]),
        ("[pipelines.a]\nwith_adapter = { p = 3 }", 2, ["pipelines.a.with_adapter", "3"]),
        ("[pipeline.a]\n", None, ["pipeline", "unknown key", "'pipelines'"]),
        ("pipelines = 3", 1, ["pipelines", "3"]),
        ("pipelines.a = 3", None, ["pipelines.a", "must be a table", "3"]),
        ("server = 3", 1, ["server", "must be a table", "3"]),
        ("[server\n", 1, ["not valid TOML"]),
    ],
)
def test_a_mistake_says_where_what_and_the_way_out(text, line, words):
    error = mistakes(text)
    (mistake,) = error.mistakes
    for word in words:
        assert word in mistake
    assert error.line == line
    assert str(error) == f"/p/devserver.toml: {mistake}"


def test_all_mistakes_are_told_at_once():
    error = mistakes("[server]\nwbe = true\n[watch]\nsweep_ms = 'x'\n[pipelines.a]\nwiht = []")
    assert [m.partition(":")[0] for m in error.mistakes] == [
        "server.wbe",
        "watch.sweep_ms",
        "pipelines.a.wiht",
    ]
    assert error.line == 2


def test_a_file_that_is_no_text(tmp_path: Path):
    (tmp_path / "devserver.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(SettingsError, match=r"devserver\.toml: is not UTF-8 text \(byte 5\)"):
        load_settings(tmp_path)


def test_a_file_that_cannot_be_read(tmp_path: Path):
    (tmp_path / "devserver.toml").mkdir()
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_settings(tmp_path)
