"""One test for each scenario of the specification, named after it."""

from __future__ import annotations

import importlib
import json
import sys
from types import ModuleType
from typing import Any

import pytest
from hamilton import lifecycle

from hamdev import PipelineManager, RunConfig

SETUP = """
    def rows() -> int:
        return 3

    def factor() -> int:
        return 10
"""
PIPELINE = """
    def total(rows: int, factor: int) -> int:
        return rows * factor
"""


@pytest.fixture
def pm(project) -> PipelineManager:
    project.write("setup", SETUP)
    project.write("pipeline_1", PIPELINE)
    return project.manager()


def import_normally(project, monkeypatch, name: str) -> ModuleType:
    monkeypatch.syspath_prepend(str(project.root))
    return importlib.import_module(name)


# -- Requirement: Run With Additional Modules -------------------------------------------------


def test_execute_with_string_module_names(pm):
    assert pm.run("pipeline_1", additional_modules=["setup"]) == {"total": 30}
    assert {"pipelines.setup", "pipelines.pipeline_1"} <= sys.modules.keys()


async def test_execute_with_string_module_names_async(pm):
    assert await pm.run_async("pipeline_1", additional_modules=["setup"]) == {"total": 30}
    assert {"pipelines.setup", "pipelines.pipeline_1"} <= sys.modules.keys()


def test_execute_with_module_objects(project, pm, monkeypatch):
    setup = import_normally(project, monkeypatch, "pipelines.setup")
    setup.marker = "the very object"
    assert pm.run("pipeline_1", additional_modules=[setup]) == {"total": 30}
    assert sys.modules["pipelines.setup"] is setup
    assert setup.marker == "the very object"


async def test_execute_with_module_objects_async(project, pm, monkeypatch):
    setup = import_normally(project, monkeypatch, "pipelines.setup")
    main = import_normally(project, monkeypatch, "pipelines.pipeline_1")
    assert await pm.run_async(main, additional_modules=[setup]) == {"total": 30}
    assert sys.modules["pipelines.setup"] is setup
    assert sys.modules["pipelines.pipeline_1"] is main


def assert_helpful(message: str) -> None:
    assert "no-such-setup" in message
    for attempted in (
        "'pipelines.no-such-setup'",
        "'pipelines.no_such_setup'",
        "'no-such-setup'",
        "'no_such_setup'",
        "pipelines.<name>",
        "'-'→'_'",
    ):
        assert attempted in message


def test_missing_module_raises_helpful_error(pm):
    with pytest.raises(ImportError) as caught:
        pm.run("pipeline_1", additional_modules=["no-such-setup"])
    assert_helpful(str(caught.value))


async def test_missing_module_raises_helpful_error_async(pm):
    with pytest.raises(ImportError) as caught:
        await pm.run_async("pipeline_1", additional_modules=["no-such-setup"])
    assert_helpful(str(caught.value))


def write_three_factors(project) -> None:
    project.write("first", "def factor() -> int:\n    return 1\ndef rows() -> int:\n    return 2\n")
    project.write("second", "def factor() -> int:\n    return 100\n")
    project.write(
        "pipeline_2", "def total(rows: int, factor: int) -> int:\n    return rows * factor"
    )


def test_precedence_order_determines_node_override(project, pm):
    write_three_factors(project)
    assert pm.run("pipeline_2", additional_modules=["first", "second"]) == {"total": 200}
    assert pm.run("pipeline_2", additional_modules=["second", "first"]) == {"total": 2}
    project.write("pipeline_3", "def factor() -> int:\n    return 7\n")
    assert pm.run("pipeline_3", additional_modules=["first", "second"])["factor"] == 7


async def test_precedence_order_determines_node_override_async(project, pm):
    write_three_factors(project)
    run = pm.run_async
    assert await run("pipeline_2", additional_modules=["first", "second"]) == {"total": 200}
    assert await run("pipeline_2", additional_modules=["second", "first"]) == {"total": 2}


def edit_both(project) -> None:
    project.write("setup", SETUP.replace("3", "4"))
    project.write("pipeline_1", PIPELINE.replace("*", "+"))


def test_reload_reloads_all_loaded_modules(project, pm):
    pm.run("pipeline_1", additional_modules=["setup"])
    edit_both(project)
    assert pm.run("pipeline_1", additional_modules=["setup"]) == {"total": 30}
    assert pm.run("pipeline_1", additional_modules=["setup"], reload=True) == {"total": 14}


async def test_reload_reloads_all_loaded_modules_async(project, pm):
    await pm.run_async("pipeline_1", additional_modules=["setup"])
    edit_both(project)
    again = await pm.run_async("pipeline_1", additional_modules=["setup"], reload=True)
    assert again == {"total": 14}


async def test_works_for_async_execution(project, pm):
    project.write(
        "setup", "async def rows() -> int:\n    return 3\ndef factor() -> int:\n    return 5\n"
    )
    config = RunConfig(additional_modules=["setup"])
    assert await pm.run_async("pipeline_1", config) == pm.run("pipeline_1", config) == {"total": 15}


def test_cross_module_final_vars(pm):
    result = pm.run(
        "pipeline_1", additional_modules=["setup"], final_vars=["total", "factor", "rows"]
    )
    assert list(result.items()) == [("total", 30), ("factor", 10), ("rows", 3)]


async def test_cross_module_final_vars_async(pm):
    result = await pm.run_async(
        "pipeline_1", additional_modules=["setup"], final_vars=["total", "factor", "rows"]
    )
    assert list(result.items()) == [("total", 30), ("factor", 10), ("rows", 3)]


# -- Requirement: Asynchronous Execution via Hamilton Async Driver ----------------------------


class DriverSeen(lifecycle.GraphConstructionHook):
    """Records the call stack's classes at graph construction, to see which driver builds it."""

    def __init__(self) -> None:
        self.drivers: list[str] = []

    def run_after_graph_construction(self, **_: Any) -> None:
        frame = sys._getframe()
        while frame is not None:
            owner = frame.f_locals.get("self")
            self.drivers += [f"{c.__module__}.{c.__name__}" for c in type(owner).__mro__]
            frame = frame.f_back


async def test_async_execution_succeeds_with_async_driver(pm):
    seen = DriverSeen()
    result = await pm.run_async(
        "pipeline_1",
        additional_modules=["setup"],
        final_vars=["rows", "total"],
        adapter={"seen": seen},
    )
    assert result == {"rows": 3, "total": 30}
    assert "hamilton.async_driver.AsyncDriver" in seen.drivers


@pytest.mark.parametrize("given", [{"async_driver": True}, {"async_driver": None}, {}])
async def test_configure_async_via_run_config(pm, given):
    config = RunConfig(additional_modules=["setup"], **given)
    assert await pm.run_async("pipeline_1", config) == {"total": 30}


async def test_configure_async_via_run_config_forbidden(pm):
    config = RunConfig(additional_modules=["setup"], async_driver=False)
    with pytest.raises(ValueError, match=r"async_driver=False.*call run\("):
        await pm.run_async("pipeline_1", config)
    assert pm.run("pipeline_1", config) == {"total": 30}


def test_reload_logging_parity(project, pm, capsys):
    pm.run("pipeline_1", additional_modules=["setup"])
    capsys.readouterr()
    edit_both(project)
    result = pm.run("pipeline_1", additional_modules=["setup"], reload=True, log_level="DEBUG")
    assert result == {"total": 14}
    assert "node finished" in capsys.readouterr().err


async def test_reload_logging_parity_async(project, pm, capsys):
    await pm.run_async("pipeline_1", additional_modules=["setup"])
    assert "node finished" not in capsys.readouterr().err
    edit_both(project)
    result = await pm.run_async(
        "pipeline_1", additional_modules=["setup"], reload=True, log_level="DEBUG"
    )
    assert result == {"total": 14}
    assert "node finished" in capsys.readouterr().err


async def test_helpful_error_on_missing_dependency(pm, monkeypatch):
    monkeypatch.setitem(sys.modules, "hamilton.async_driver", None)
    with pytest.raises(ImportError) as caught:
        await pm.run_async("pipeline_1", additional_modules=["setup"])
    message = str(caught.value)
    for part in (
        "asynchronous execution",
        "hamilton.async_driver",
        "pip install --upgrade",
        ">=1.90",
    ):
        assert part in message
    assert pm.run("pipeline_1", additional_modules=["setup"]) == {"total": 30}


class Doubled(lifecycle.NodeExecutionMethod):
    def run_to_execute_node(self, *, node_callable, node_kwargs, **_: Any) -> Any:
        return node_callable(**node_kwargs) * 2


def test_adapters_propagate_to_sync(pm, capsys):
    result = pm.run(
        "pipeline_1",
        additional_modules=["setup"],
        with_adapter={"println": {"verbosity": 1}},
        adapter={"doubled": Doubled()},
    )
    assert result == {"total": 240}
    assert "total" in capsys.readouterr().out


async def test_adapters_propagate_to_async(pm, capsys):
    result = await pm.run_async(
        "pipeline_1",
        additional_modules=["setup"],
        with_adapter={"println": {"verbosity": 1}},
        adapter={"doubled": Doubled()},
    )
    assert result == {"total": 240}
    assert "total" in capsys.readouterr().out


def test_the_packages_own_example_runs_as_the_specification_calls_it(project, pm):
    project.write("devserver.toml", '[pipelines.pipeline_1]\nwith = ["setup"]\n')
    result = project.manager().run("pipeline_1")
    assert json.dumps(result) == '{"total": 30}'
