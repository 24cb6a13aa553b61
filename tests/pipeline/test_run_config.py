"""`RunConfig`: fields, merging, and what it refuses."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamdev import RunConfig

PER_KEY = ("inputs", "config", "overrides", "with_adapter", "adapter", "executor_options")


@pytest.mark.parametrize("field", PER_KEY)
def test_mappings_are_merged_per_key(field):
    low, high = {"a": 1, "b": 1}, {"b": 2, "c": 2}
    merged = RunConfig.merged([RunConfig(**{field: low}), RunConfig(**{field: high})])
    assert getattr(merged, field) == {"a": 1, "b": 2, "c": 2}
    assert (low, high) == ({"a": 1, "b": 1}, {"b": 2, "c": 2})


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("final_vars", ("a", "b"), ("c",)),
        ("final_vars", ("a",), ()),
        ("additional_modules", ("a",), ()),
        ("reload", True, False),
        ("async_driver", False, None),
        ("log_level", "DEBUG", None),
        ("executor", "threads", "inline"),
        ("timeout_s", 3.0, None),
    ],
)
def test_others_are_replaced_and_an_explicit_default_wins(field, low, high):
    layers = [RunConfig(**{field: low}), RunConfig(**{field: high})]
    assert getattr(RunConfig.merged(layers), field) == high
    assert getattr(RunConfig.merged([*layers, RunConfig()]), field) == high


def test_settings_then_run_config_then_keywords(project, execute):
    project.write("main", "def out(a: str, b: str, c: str) -> list:\n    return [a, b, c]\n")
    project.write(
        "devserver.toml",
        '[pipelines.main]\ninputs = { a = "toml", b = "toml", c = "toml" }\ntimeout_s = 50\n',
    )
    config = RunConfig(inputs={"b": "config", "c": "config"})
    result = execute(project.manager(), "main", config, inputs={"c": "keyword"})
    assert result == {"out": ["toml", "config", "keyword"]}


def test_what_the_settings_forbid_a_keyword_may_allow(project):
    import asyncio

    project.write("main", "def out() -> int:\n    return 1\n")
    project.write("devserver.toml", "[pipelines.main]\nasync_driver = false\n")
    pm = project.manager()
    with pytest.raises(ValueError, match="async_driver=False"):
        asyncio.run(pm.run_async("main"))
    assert asyncio.run(pm.run_async("main", async_driver=True)) == {"out": 1}
    assert asyncio.run(pm.run_async("main", RunConfig(async_driver=None))) == {"out": 1}


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers()), max_size=4))
def test_merging_is_associative(layers):
    configs = [RunConfig(inputs=layer) for layer in layers]
    at_once = RunConfig.merged(configs)
    by_pairs = RunConfig()
    for config in configs:
        by_pairs = RunConfig.merged([by_pairs, config])
    assert by_pairs == at_once
    assert by_pairs.given == at_once.given


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().reload = True


@pytest.mark.parametrize("word", ["final_var", "aditional_modules", "input", "loglevel"])
def test_an_unknown_keyword_names_the_nearest_field(project, word):
    near = {"final_var": "final_vars", "input": "inputs", "loglevel": "log_level"}
    expected = near.get(word, "additional_modules")
    with pytest.raises(TypeError, match=f"{word!r}.*{expected!r}"):
        RunConfig(**{word: 1})
    with pytest.raises(TypeError, match=f"{word!r}.*{expected!r}"):
        project.manager().run("main", **{word: 1})


@pytest.mark.parametrize(
    ("keywords", "error", "says"),
    [
        ({"inputs": [1]}, TypeError, "inputs"),
        ({"final_vars": "total"}, TypeError, "final_vars"),
        ({"final_vars": [1]}, TypeError, "final_vars"),
        ({"additional_modules": [1]}, TypeError, "additional_modules"),
        ({"adapter": "println"}, TypeError, "adapter"),
        ({"reload": "yes"}, TypeError, "reload"),
        ({"reload": None}, TypeError, "reload"),
        ({"async_driver": 1}, TypeError, "async_driver"),
        ({"log_level": "LOUD"}, ValueError, "LOUD.*DEBUG"),
        ({"log_level": 10}, ValueError, "10"),
        ({"executor": "thread"}, ValueError, "'threads'"),
        ({"timeout_s": -1}, ValueError, "timeout_s"),
        ({"timeout_s": "5"}, ValueError, "timeout_s"),
        ({"timeout_s": float("nan")}, ValueError, "timeout_s"),
        ({"timeout_s": True}, ValueError, "timeout_s"),
    ],
)
def test_a_wrong_value_names_its_field(keywords, error, says):
    with pytest.raises(error, match=says):
        RunConfig(**keywords)


def test_values_are_brought_into_their_form():
    def total() -> int:
        return 1

    config = RunConfig(
        final_vars=[total, "rows"], additional_modules="setup", log_level="debug", timeout_s=0
    )
    assert config.final_vars == ("total", "rows")
    assert config.additional_modules == ("setup",)
    assert config.log_level == "DEBUG"
    assert config.timeout_s is None
    assert RunConfig(inputs=None, final_vars=None, adapter=None) == RunConfig()


def test_what_a_caller_changes_later_does_not_reach_the_config():
    inputs = {"a": 1}
    config = RunConfig(inputs=inputs)
    inputs["a"] = 2
    assert config.inputs == {"a": 1}
    config.given["reload"] = True
    assert "reload" not in config.given


def test_the_second_argument_must_be_a_run_config(project):
    with pytest.raises(TypeError, match="RunConfig"):
        project.manager().run("main", {"inputs": {}})


def test_adapters_of_one_class_are_all_kept():
    one, two = object(), object()
    merged = RunConfig.merged([RunConfig(adapter=[one]), RunConfig(adapter=[two, one])])
    assert list(merged.adapter.values()) == [one, two]
