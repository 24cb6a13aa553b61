"""What modules do to the process itself is gone when the code that did it is."""

from __future__ import annotations

import pytest
from real_daemon import Daemon

ENVIRONMENT = """
import os
os.environ["HAMDEV_TEST_EFFECT"] = "set"
def told() -> str:
    return os.environ.get("HAMDEV_TEST_EFFECT", "not set")
"""
OPTION = """
import pandas as pd
pd.set_option("display.precision", 2)
def told() -> str:
    return repr(pd.Series([1.23456]))
"""
PATCH = """
import json
json.JSONEncoder.default = lambda self, value: "patched"
def told() -> str:
    try:
        return json.dumps(object())
    except TypeError:
        return "not patched"
"""
BY_A_NODE = """
import decimal
import os
def sets() -> int:
    os.environ["HAMDEV_TEST_EFFECT"] = "set"
    return 1
def told(sets: int) -> str:
    return os.environ.get("HAMDEV_TEST_EFFECT", "not set")
"""


@pytest.mark.parametrize(
    ("text", "effect", "before", "after"),
    [
        (ENVIRONMENT, 'os.environ["HAMDEV_TEST_EFFECT"] = "set"', "set", "not set"),
        (OPTION, 'pd.set_option("display.precision", 2)', "1.23\n", "1.23456\n"),
        (PATCH, 'json.JSONEncoder.default = lambda self, value: "patched"', "ed", "not patched"),
        (BY_A_NODE, 'os.environ["HAMDEV_TEST_EFFECT"] = "set"', "set", "not set"),
    ],
    ids=["environment", "option", "patch", "by a node"],
)
def test_an_effect_ends_with_the_statement_that_had_it(
    text: str, effect: str, before: str, after: str, daemon: Daemon
) -> None:
    daemon.serve("effects", text)
    assert before in daemon.value("told")
    client = daemon.subscriber()
    daemon.write("pipelines/effects.py", text.replace(effect, "pass"))
    events = client.until("run.finished")
    assert [e["type"] for e in events if e["type"].startswith("run.")] == [
        "run.started",
        "run.finished",
    ]
    assert events[-1]["outcome"] == "ok"
    assert [e for e in events if e["type"] == "worker.lost"] == []
    assert after in daemon.value("told")


def test_an_effect_of_a_load_that_failed_is_gone_when_it_is_mended(daemon: Daemon) -> None:
    good = ENVIRONMENT.replace('os.environ["HAMDEV_TEST_EFFECT"] = "set"\n', "")
    daemon.serve("failed_effects", good)
    assert daemon.value("told") == "not set"
    daemon.write("pipelines/failed_effects.py", ENVIRONMENT + "raise ValueError\n")
    daemon.sync()
    assert daemon.value("told") == "not set"
    daemon.write("pipelines/failed_effects.py", good)
    daemon.sync()
    assert daemon.value("told") == "not set"


def test_what_wraps_a_function_of_a_library_wraps_it_once(daemon: Daemon) -> None:
    text = """
import textwrap
textwrap.dedent = (lambda dedent: lambda text: dedent(text) + "!")(textwrap.dedent)
def told() -> str:
    return textwrap.dedent("a")
"""
    daemon.serve("wraps", text)
    assert daemon.value("told") == "a!"
    daemon.write("pipelines/wraps.py", text.replace('"!"', '"?"'))
    daemon.sync()
    assert daemon.value("told") == "a?"


def test_a_mistake_beside_an_effect_costs_no_values(daemon: Daemon) -> None:
    good = "import random\n" + OPTION + "def kept() -> float:\n    return random.random()\n"
    daemon.serve("mistaken", good)
    kept, workers = daemon.value("kept"), daemon.workers()
    for mistake in (
        "raise ValueError\n",
        "def broken(:\n",
        "def unknown(kept: Missing) -> int: ...\n",
    ):
        daemon.save("mistaken", good + mistake)
        assert daemon.pipeline("mistaken")["state"] == "failed"
        daemon.save("mistaken", good)
        assert daemon.value("kept") == kept
        assert daemon.workers() == workers
