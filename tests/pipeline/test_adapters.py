"""The same adapters in `run` and `run_async`: the same values at the same moments, or an error."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hamilton import base, lifecycle
from hamilton.lifecycle import base as lifecycle_base

from hamdev.errors import AdapterError
from hamdev.pipeline.run_config import RunConfig

NODES = """
    def a(n: int) -> int:
        return n + 1

    def b(a: int) -> int:
        return a * 2

    def c(b: int, optional: int = 5) -> int:
        return b + optional
"""
ASYNC_NODES = NODES.replace("def b", "async def b")


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []


class NodeHook(Recorder, lifecycle.NodeExecutionHook):
    def run_before_node_execution(self, *, node_name, node_kwargs, **_: Any) -> None:
        self.calls.append(("before", node_name, dict(node_kwargs)))

    def run_after_node_execution(
        self, *, node_name, node_kwargs, result, error, success, **_: Any
    ) -> None:
        self.calls.append(("after", node_name, dict(node_kwargs), result, repr(error), success))


class GraphHook(Recorder, lifecycle.GraphExecutionHook, lifecycle.GraphConstructionHook):
    def run_after_graph_construction(self, *, graph, config, **_: Any) -> None:
        names = sorted(n.name for n in graph.nodes)
        self.calls.append(("constructed", names, dict(config)))

    def run_before_graph_execution(self, *, final_vars, inputs, overrides, **_: Any) -> None:
        self.calls.append(("begin", list(final_vars), dict(inputs), dict(overrides)))

    def run_after_graph_execution(self, *, success, error, results, **_: Any) -> None:
        self.calls.append(("end", success, repr(error), results))


class NodeMethod(Recorder, lifecycle.NodeExecutionMethod):
    def run_to_execute_node(self, *, node_name, node_callable, node_kwargs, **_: Any) -> Any:
        self.calls.append(("method", node_name, dict(node_kwargs)))
        return node_callable(**node_kwargs)


class Builder(Recorder, lifecycle.ResultBuilder):
    def build_result(self, **outputs: Any) -> Any:
        self.calls.append(("build", outputs))
        return list(outputs.items())

    def output_type(self) -> type:
        return list


class Everything(NodeHook, GraphHook, NodeMethod, Builder):
    """All of it in one object, so that one list has the order of all calls."""


class Validator(Recorder, lifecycle.StaticValidator):
    def __init__(self, refuse: str = "") -> None:
        super().__init__()
        self._refuse = refuse

    def run_to_validate_node(self, *, node, **_: Any) -> tuple[bool, str | None]:
        self.calls.append(("node", node.name))
        return node.name != self._refuse, f"{node.name} is not welcome"

    def run_to_validate_graph(self, graph, **_: Any) -> tuple[bool, str | None]:
        self.calls.append(("graph",))
        return True, None


class Edges(Recorder, lifecycle.EdgeConnectionHook):
    """Lets a string in where an int is expected, which Hamilton by itself refuses."""

    def check_edge_types_match(self, type_from: type, type_to: type, **_: Any) -> bool:
        self.calls.append(("edge", type_from, type_to))
        return False

    def validate_input(self, node_type: type, input_value: Any, **_: Any) -> bool:
        self.calls.append(("input", node_type, input_value))
        return True


def both(project, make, text: str = NODES, **keywords: Any) -> tuple[list, list, Any, Any]:
    """The calls that an adapter sees in `run` and in `run_async`, and both outcomes."""
    project.write("main", text)
    pm = project.manager()
    keywords = {"inputs": {"n": 1}, **keywords}
    sync_adapter, async_adapter = make(), make()

    def outcome(run: Any) -> Any:
        try:
            return run()
        except Exception as error:
            return repr(error)

    sync = outcome(lambda: pm.run("main", adapter=[sync_adapter], **keywords))
    asynchronous = outcome(
        lambda: asyncio.run(pm.run_async("main", adapter=[async_adapter], **keywords))
    )
    return sync_adapter.calls, async_adapter.calls, sync, asynchronous


@pytest.mark.parametrize(
    "make", [NodeHook, GraphHook, NodeMethod, Builder, Everything, Validator, Edges]
)
@pytest.mark.parametrize("text", [NODES, ASYNC_NODES], ids=["def", "async def"])
def test_they_see_the_same_in_both_modes(project, make, text):
    sync_calls, async_calls, sync, asynchronous = both(project, make, text)
    assert sync_calls == async_calls
    assert sync_calls
    expected: Any = {"c": 9}
    if issubclass(make, Builder):
        expected = [("c", 9)]
    assert sync == asynchronous == expected


def test_what_they_see_are_real_values_around_the_real_call(project):
    calls, *_ = both(project, Everything)
    assert calls[0][0] == "constructed"
    assert calls[1:] == [
        ("begin", ["c"], {"n": 1}, {}),
        ("before", "a", {"n": 1}),
        ("method", "a", {"n": 1}),
        ("after", "a", {"n": 1}, 2, "None", True),
        ("before", "b", {"a": 2}),
        ("method", "b", {"a": 2}),
        ("after", "b", {"a": 2}, 4, "None", True),
        ("before", "c", {"b": 4}),
        ("method", "c", {"b": 4}),
        ("after", "c", {"b": 4}, 9, "None", True),
        ("build", {"c": 9}),
        ("end", True, "None", [("c", 9)]),
    ]


@pytest.mark.parametrize("make", [NodeHook, GraphHook, NodeMethod, Everything])
@pytest.mark.parametrize("text", [NODES, ASYNC_NODES], ids=["def", "async def"])
def test_they_see_the_same_of_a_failure(project, make, text):
    text = text.replace("return a * 2", "return a // 0")
    sync_calls, async_calls, sync, asynchronous = both(project, make, text)
    assert sync_calls == async_calls
    assert sync == asynchronous
    assert sync.startswith("ZeroDivisionError")
    if issubclass(make, NodeHook):
        after = [call for call in sync_calls if call[0] == "after"]
        assert [call[1] for call in after] == ["a", "b"]
        assert after[-1][3:] == (None, sync, False)
    if issubclass(make, GraphHook):
        assert sync_calls[-1] == ("end", False, sync, None)


@pytest.mark.parametrize("where", ["before", "after"])
def test_they_see_the_same_when_a_hook_itself_fails(project, where):
    class Failing(NodeHook):
        def run_before_node_execution(self, **keywords: Any) -> None:
            super().run_before_node_execution(**keywords)
            if where == "before" and keywords["node_name"] == "b":
                raise RuntimeError("my hook")

        def run_after_node_execution(self, **keywords: Any) -> None:
            super().run_after_node_execution(**keywords)
            if where == "after" and keywords["node_name"] == "b":
                raise RuntimeError("my hook")

    sync_calls, async_calls, sync, asynchronous = both(project, Failing)
    assert sync_calls == async_calls
    assert sync == asynchronous == "RuntimeError('my hook')"
    assert sync_calls[-1][:2] == (where, "b")


def test_a_pandas_result_builder(project, execute):
    project.write(
        "main", "import pandas as pd\ndef x() -> pd.Series:\n    return pd.Series([1, 2])\n"
    )
    frame = execute(project.manager(), "main", adapter=[base.PandasDataFrameResult()])
    assert frame.to_dict("list") == {"x": [1, 2]}


def test_a_validator_that_refuses(project, execute):
    project.write("main", NODES)
    with pytest.raises(lifecycle_base.ValidationException, match="b is not welcome"):
        execute(project.manager(), "main", inputs={"n": 1}, adapter=[Validator("b")])


def test_an_edge_hook_may_allow_more_than_hamilton(project, execute):
    project.write("main", "def out(n: int) -> str:\n    return n * 2\n")
    edges = Edges()
    assert execute(project.manager(), "main", inputs={"n": "x"}, adapter=[edges]) == {"out": "xx"}
    assert edges.calls == [("input", int, "x")]


class AsyncNodeHook(
    Recorder, lifecycle_base.BasePreNodeExecuteAsync, lifecycle_base.BasePostNodeExecuteAsync
):
    async def pre_node_execute(self, *, node_, kwargs, **_: Any) -> None:
        await asyncio.sleep(0)
        self.calls.append(("before", node_.name, dict(kwargs)))

    async def post_node_execute(self, *, node_, kwargs, result, error, success, **_: Any) -> None:
        await asyncio.sleep(0)
        self.calls.append(("after", node_.name, dict(kwargs), result, repr(error), success))


class AsyncGraphHook(
    Recorder,
    lifecycle_base.BasePostGraphConstructAsync,
    lifecycle_base.BasePreGraphExecuteAsync,
    lifecycle_base.BasePostGraphExecuteAsync,
):
    async def post_graph_construct(self, *, graph, config, **_: Any) -> None:
        names = sorted(graph.nodes)
        self.calls.append(("constructed", names, dict(config)))

    async def pre_graph_execute(self, *, final_vars, inputs, overrides, **_: Any) -> None:
        self.calls.append(("begin", list(final_vars), dict(inputs), dict(overrides)))

    async def post_graph_execute(self, *, success, error, results, **_: Any) -> None:
        self.calls.append(("end", success, repr(error), results))


@pytest.mark.parametrize(
    ("make", "counterpart"), [(AsyncNodeHook, NodeHook), (AsyncGraphHook, GraphHook)]
)
@pytest.mark.parametrize("fails", [False, True])
def test_async_hooks_see_what_sync_ones_see(project, make, counterpart, fails):
    text = NODES.replace("a * 2", "a // 0") if fails else NODES
    _, async_calls, _, outcome = both(project, make, text)
    expected, *_ = both(project, counterpart, text)
    assert async_calls == expected
    assert outcome == (
        "ZeroDivisionError('integer division or modulo by zero')" if fails else {"c": 9}
    )


@pytest.mark.parametrize("make", [AsyncNodeHook, AsyncGraphHook])
def test_async_hooks_under_run_are_an_error(project, make):
    project.write("main", NODES)
    adapter = make()
    with pytest.raises(AdapterError, match=f"{make.__name__}.*run_async"):
        project.manager().run("main", inputs={"n": 1}, adapter=[adapter])
    assert adapter.calls == []


class Remote(lifecycle_base.BaseDoRemoteExecute):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def do_remote_execute(self, *, node, execute_lifecycle_for_node, **kwargs: Any) -> Any:
        self.calls.append(node.name)
        return execute_lifecycle_for_node(**kwargs)


def test_remote_execution_works_under_run_only(project):
    project.write("main", NODES)
    pm, adapter = project.manager(), Remote()
    assert pm.run("main", inputs={"n": 1}, adapter=[adapter]) == {"c": 9}
    assert adapter.calls == ["a", "b", "c"]
    with pytest.raises(AdapterError, match=r"Remote.*do_remote_execute.*run"):
        asyncio.run(pm.run_async("main", inputs={"n": 1}, adapter=[adapter]))
    assert adapter.calls == ["a", "b", "c"]


class TaskHook(lifecycle.TaskExecutionHook):
    def run_before_task_execution(self, **_: Any) -> None:
        raise AssertionError

    def run_after_task_execution(self, **_: Any) -> None:
        raise AssertionError


def test_task_hooks_would_never_be_called(project, execute):
    project.write("main", NODES)
    with pytest.raises(AdapterError, match=r"TaskHook.*task hooks"):
        execute(project.manager(), "main", inputs={"n": 1}, adapter=[TaskHook()])


def test_something_that_is_no_adapter(project, execute):
    project.write("main", NODES)
    with pytest.raises(AdapterError, match="'mine' is 42"):
        execute(project.manager(), "main", inputs={"n": 1}, adapter={"mine": 42})
    with pytest.raises(AdapterError, match="NodeHook"):
        execute(project.manager(), "main", inputs={"n": 1}, adapter={"mine": NodeHook})


def test_two_methods_for_one_thing_are_an_error(project, execute):
    project.write("main", NODES)
    with pytest.raises(Exception, match="do_node_execute"):
        execute(project.manager(), "main", inputs={"n": 1}, adapter=[NodeMethod(), NodeMethod()])


def test_an_unknown_name_names_the_nearest(project, execute):
    project.write("main", NODES)
    with pytest.raises(AdapterError, match=r"'progresbar'.*did you mean 'progressbar'"):
        execute(project.manager(), "main", inputs={"n": 1}, with_adapter={"progresbar": True})
    with pytest.raises(AdapterError, match=r"'progresbar'.*did you mean 'progressbar'"):
        execute(project.manager(), "main", inputs={"n": 1}, with_adapter={"progresbar": False})


def test_bad_options_name_the_adapter(project, execute):
    project.write("main", NODES)
    with pytest.raises(AdapterError, match=r"'println'.*nope"):
        execute(project.manager(), "main", inputs={"n": 1}, with_adapter={"println": {"nope": 1}})


@pytest.mark.parametrize("name", ["progressbar", "tqdm", "println", "typecheck"])
@pytest.mark.parametrize("wanted", [True, False, {}])
def test_named_adapters_work(project, execute, capsys, name, wanted):
    if name == "tqdm":
        pytest.importorskip("tqdm")
    project.write("main", NODES)
    result = execute(project.manager(), "main", inputs={"n": 1}, with_adapter={name: wanted})
    assert result == {"c": 9}
    out = capsys.readouterr().out
    assert bool(out) == (name == "println" and wanted is not False)


def test_progressbar_options(project, execute):
    project.write("main", NODES)
    adapters = {"progressbar": {"desc": "orders"}}
    assert execute(project.manager(), "main", inputs={"n": 1}, with_adapter=adapters) == {"c": 9}


def test_typecheck_checks(project, execute):
    project.write("main", "def out() -> int:\n    return 'no int'\n")
    assert execute(project.manager(), "main") == {"out": "no int"}
    with pytest.raises(TypeError):
        execute(project.manager(), "main", with_adapter={"typecheck": True})


def test_one_instance_given_twice_is_called_once(project, execute):
    project.write("main", NODES)
    hook = NodeHook()
    config = RunConfig(adapter={"one": hook})
    execute(project.manager(), "main", config, inputs={"n": 1}, adapter={"two": hook})
    assert len(hook.calls) == 6
