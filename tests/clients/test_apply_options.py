from __future__ import annotations

import pytest

from hamdev.config import Options, PipelineSettings, Settings, apply_options, parse_settings
from hamdev.errors import SettingsError

FILE = parse_settings(
    b"""
    [server]
    log_level = "WARNING"
    [watch]
    settle_ms = 7
    [pipelines.daily_sales]
    with = ["setup"]
    final_vars = ["total"]
    inputs = { n = 1, m = 2 }
    config = { region = "north" }
    timeout_s = 9
    [pipelines.other]
    async_driver = false
    """
)


def test_no_options_serve_what_the_file_says() -> None:
    assert apply_options(FILE, Options()) == FILE


def test_named_pipelines_alone_are_served_in_their_order() -> None:
    served = apply_options(FILE, Options(pipelines=("new-one", "other"))).pipelines
    assert list(served) == ["new_one", "other"]
    assert served["new_one"] == PipelineSettings()
    assert served["other"] == FILE.pipelines["other"]


@pytest.mark.parametrize("name", ["daily_sales", "daily-sales", "pipelines.daily_sales"])
def test_name_finds_its_table(name: str) -> None:
    assert apply_options(FILE, Options(pipelines=(name,))).pipelines == {
        "daily_sales": FILE.pipelines["daily_sales"]
    }


def test_a_pipeline_named_twice_is_served_once() -> None:
    options = Options(pipelines=("daily-sales", "daily_sales"))
    assert list(apply_options(FILE, options).pipelines) == ["daily_sales"]


def test_modules_and_nodes_replace_inputs_and_config_merge_in_every_pipeline() -> None:
    options = Options(with_=("a", "b"), final_vars=("x",), inputs={"n": 3}, config={"unit": "mm"})
    served = apply_options(FILE, options).pipelines
    daily, other = served["daily_sales"], served["other"]
    assert (daily.with_, daily.final_vars, daily.timeout_s) == (("a", "b"), ("x",), 9)
    assert daily.inputs == {"n": 3, "m": 2}
    assert daily.config == {"region": "north", "unit": "mm"}
    assert (other.with_, other.final_vars, other.async_driver) == (("a", "b"), ("x",), False)
    assert (other.inputs, other.config) == ({"n": 3}, {"unit": "mm"})


def test_logging_options_beat_the_file() -> None:
    server = apply_options(FILE, Options(log_level="DEBUG", log_format="json")).server
    assert (server.log_level, server.log_format) == ("DEBUG", "json")
    assert apply_options(FILE, Options()).server.log_level == "WARNING"


def test_the_file_s_settings_are_left_as_they_were() -> None:
    apply_options(FILE, Options(inputs={"n": 3}, config={"unit": "mm"}, with_=("a",)))
    assert FILE.pipelines["daily_sales"].inputs == {"n": 1, "m": 2}
    assert FILE.pipelines["other"] == PipelineSettings(async_driver=False)


def test_nothing_to_serve_says_what_to_do() -> None:
    with pytest.raises(SettingsError, match=r"hamdev watch PIPELINE.*\[pipelines\.PIPELINE\]"):
        apply_options(Settings(), Options())


def test_every_other_table_is_as_the_file_says() -> None:
    text = b"[memory]\nkeep_slower_than_ms = 7\n[watch]\nsettle_ms = 8\n[pipelines.a]\n"
    settings = apply_options(parse_settings(text), Options(log_level="DEBUG"))
    assert (settings.memory.keep_slower_than_ms, settings.watch.settle_ms) == (7, 8)
