"""Executing: validation first, order, failures, cancellation, depth, time limits, executors."""

from __future__ import annotations

import asyncio
import builtins
import contextvars
import threading
from typing import Any

import pytest

from hamdev.errors import CycleError, GraphError, InputError, RunTimeoutError, StrayResultError

DEPTH = 5000


@pytest.fixture
def ran(monkeypatch) -> list[Any]:
    """What node functions append to `builtins.ran`."""
    seen: list[Any] = []
    monkeypatch.setattr(builtins, "ran", seen, raising=False)
    return seen


# -- what comes back --------------------------------------------------------------------------


def test_the_result_is_in_the_order_of_final_vars(project, execute):
    project.write("main", "".join(f"def n{i}() -> int:\n    return {i}\n" for i in range(9)))
    wanted = ["n7", "n0", "n8", "n3", "n7"]
    result = execute(project.manager(), "main", final_vars=wanted)
    assert list(result) == ["n7", "n0", "n8", "n3"]
    assert list(execute(project.manager(), "main")) == [f"n{i}" for i in range(9)]


def test_without_final_vars_every_leaf_that_can_be_computed(project, execute, capsys):
    project.write(
        "main",
        """
        def middle(given: int) -> int:
            return given

        def leaf(middle: int) -> int:
            return middle

        def needs_more(middle: int, absent: int) -> int:
            return middle

        def has_default(middle: int, absent: int = 3) -> int:
            return absent
        """,
    )
    pm = project.manager()
    assert execute(pm, "main", inputs={"given": 1}) == {"has_default": 3, "leaf": 1}
    assert "needs_more" in capsys.readouterr().err
    everything = execute(pm, "main", inputs={"given": 1, "absent": 4})
    assert everything == {"has_default": 4, "leaf": 1, "needs_more": 1}
    assert execute(pm, "main", overrides={"middle": 2}) == {"has_default": 3, "leaf": 2}


def test_a_module_without_nodes_gives_an_empty_result(project, execute):
    project.write("main", "")
    assert execute(project.manager(), "main") == {}


def test_inputs_config_and_overrides(project, execute, ran):
    project.write(
        "main",
        """
        from hamilton.function_modifiers import config

        @config.when(kind="big")
        def size__big() -> int:
            return 100

        @config.when(kind="small")
        def size__small() -> int:
            return 1

        def upstream() -> int:
            ran.append("upstream")
            return 1

        def middle(upstream: int, size: int) -> int:
            return upstream * size

        def out(middle: int, factor: int) -> int:
            return middle * factor
        """,
    )
    pm = project.manager()
    big = {"kind": "big"}
    assert execute(pm, "main", config=big, inputs={"factor": 2}) == {"out": 200}
    assert execute(pm, "main", config={"kind": "small", "factor": 3}) == {"out": 3}
    ran.clear()
    keywords = {"config": big, "inputs": {"factor": 2}, "overrides": {"middle": 7}}
    assert execute(pm, "main", **keywords, final_vars=["out"]) == {"out": 14}
    assert ran == []
    assert execute(pm, "main", **keywords, final_vars=["middle", "factor"]) == {
        "middle": 7,
        "factor": 2,
    }


def test_final_vars_may_name_inputs_and_config(project, execute):
    project.write("main", "def out(n: int, m: int) -> int:\n    return n + m\n")
    result = execute(
        project.manager(), "main", inputs={"n": 1}, config={"m": 2}, final_vars=["m", "out", "n"]
    )
    assert list(result.items()) == [("m", 2), ("out", 3), ("n", 1)]


def test_values_of_every_kind_are_passed_on_as_they_are(project, execute):
    project.write(
        "main",
        "def a(x: object) -> object:\n    return x\ndef b(a: object) -> object:\n    return a\n",
    )
    for value in (None, False, [], float("nan"), object(), Exception("a value"), {}):
        assert execute(project.manager(), "main", inputs={"x": value})["b"] is value


def test_a_task_or_future_as_an_input_is_a_value(project):
    project.write("main", "def out(job: object) -> bool:\n    return job.done()\n")

    async def run() -> Any:
        job = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(asyncio.sleep(0), name="job")
        first = await project.manager().run_async("main", inputs={"job": job})
        await task
        second = await project.manager().run_async("main", inputs={"job": task})
        return first, second

    assert asyncio.run(run()) == ({"out": False}, {"out": True})


# -- validation before anything runs ----------------------------------------------------------

TWO = """
    def first() -> int:
        ran.append("first")
        return 1

    def second(first: int, n: int, m: int) -> int:
        return first + n
"""


def test_missing_inputs_are_all_named_before_anything_runs(project, execute, ran):
    project.write("main", TWO)
    for keywords in ({}, {"final_vars": ["second"]}):
        with pytest.raises(InputError) as caught:
            execute(project.manager(), "main", **keywords)
        assert caught.value.missing == {"n": ["second"], "m": ["second"]}
        for part in ("'n'", "'m'", "'second'", "inputs="):
            assert part in str(caught.value)
    assert ran == []


def test_inputs_of_the_wrong_type_are_refused_before_anything_runs(project, execute, ran):
    project.write("main", TWO)
    with pytest.raises(InputError) as caught:
        execute(project.manager(), "main", inputs={"n": "three", "m": 1})
    assert caught.value.mismatched == ["n"]
    for part in ("n", "three", "int"):
        assert part in str(caught.value)
    assert ran == []


def test_the_same_name_as_input_and_as_config(project, execute, ran):
    project.write("main", TWO)
    with pytest.raises(InputError, match="both as input and as config: 'n'"):
        execute(project.manager(), "main", inputs={"n": 1, "m": 1}, config={"n": 1})
    assert ran == []


@pytest.mark.parametrize("field", ["final_vars", "overrides"])
def test_unknown_nodes_name_the_nearest(project, execute, ran, field):
    project.write("main", TWO)
    value: Any = ["secnd"] if field == "final_vars" else {"secnd": 1}
    with pytest.raises(GraphError, match=rf"{field}.*'secnd', did you mean 'second'") as caught:
        execute(project.manager(), "main", inputs={"n": 1, "m": 1}, **{field: value})
    assert caught.value.node == "secnd"
    assert ran == []


@pytest.mark.parametrize("wanted", [[], ["b"]])
def test_a_cycle_is_named(project, execute, wanted):
    project.write(
        "main",
        "def a(c: int) -> int:\n    return c\ndef b(a: int) -> int:\n    return a\n"
        "def c(b: int) -> int:\n    return b\n",
    )
    with pytest.raises(CycleError) as caught:
        execute(project.manager(), "main", final_vars=wanted)
    assert sorted(caught.value.cycle[1:]) == ["a", "b", "c"]
    assert caught.value.cycle[0] == caught.value.cycle[-1]
    assert " → " in str(caught.value)


def test_a_cycle_of_one_and_one_that_an_override_cuts(project, execute):
    project.write(
        "main", "def a(b: int) -> int:\n    return b\ndef b(a: int) -> int:\n    return a\n"
    )
    project.write("own", "def a(a: int) -> int:\n    return a\n")
    pm = project.manager()
    assert execute(pm, "main", overrides={"a": 1}, final_vars=["b"]) == {"b": 1}
    with pytest.raises(CycleError) as caught:
        execute(pm, "own", final_vars=["a"])
    assert caught.value.cycle == ["a", "a"]


def test_a_lambda_or_an_alias_is_explained(project, execute):
    project.write("main", "double = lambda x: x * 2\ndef out() -> int:\n    return 1\n")
    with pytest.raises(Exception) as caught:  # noqa: PT011  # Hamilton's own, of several types
        execute(project.manager(), "main")
    assert "pipelines.main" in "".join(caught.value.__notes__)


# -- async def nodes --------------------------------------------------------------------------

MIXED = """
    import asyncio

    async def a() -> int:
        await asyncio.sleep(0)
        return 1

    def b(a: int) -> int:
        return a + 1

    async def c(b: int) -> int:
        await asyncio.sleep(0)
        return b + 1
"""


def test_async_nodes_work_in_both_modes(project, execute):
    project.write("main", MIXED)
    assert execute(project.manager(), "main") == {"c": 3}


async def test_run_inside_a_running_event_loop(project):
    project.write("main", MIXED)
    assert project.manager().run("main") == {"c": 3}


def test_async_nodes_of_one_run_share_a_loop(project, execute):
    project.write(
        "main",
        """
        import asyncio

        async def loop_a() -> object:
            return asyncio.get_running_loop()

        async def same(loop_a: object) -> bool:
            return asyncio.get_running_loop() is loop_a
        """,
    )
    assert execute(project.manager(), "main") == {"same": True}


def test_nodes_see_the_context_of_the_caller(project, execute, monkeypatch):
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    monkeypatch.setattr(builtins, "variable", variable, raising=False)
    project.write(
        "main",
        "async def a() -> str:\n    return variable.get()\n"
        "def b() -> str:\n    return variable.get()\n",
    )
    token = variable.set("the caller's")
    try:
        for executor in ("inline", "threads"):
            result = execute(project.manager(), "main", executor=executor)
            assert set(result.values()) == {"the caller's"}
    finally:
        variable.reset(token)


async def test_independent_async_nodes_overlap(project):
    project.write(
        "main",
        """
        async def a(barrier: object) -> int:
            await barrier.wait()
            return 1

        async def b(barrier: object) -> int:
            await barrier.wait()
            return 2
        """,
    )
    result = await project.manager().run_async("main", inputs={"barrier": asyncio.Barrier(2)})
    assert result == {"a": 1, "b": 2}


# -- stray results ----------------------------------------------------------------------------


def test_a_stray_coroutine_names_node_and_reason(project, execute):
    file = project.write(
        "main",
        """
        from hamilton.function_modifiers import parameterize, value

        @parameterize(one={"n": value(1)}, two={"n": value(2)})
        async def many(n: int) -> int:
            return n
        """,
    )
    with pytest.raises(StrayResultError) as caught:
        execute(project.manager(), "main", final_vars=["one"])
    assert caught.value.node == "one"
    for part in ("'one'", "coroutine", "@parameterize", str(file), "synchronous"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def out() -> object:\n    yield 1\n", "a generator"),
        ("async def out() -> object:\n    yield 1\n", "an asynchronous generator"),
    ],
)
def test_a_generator_names_node_and_reason(project, execute, text, says):
    project.write("main", text)
    with pytest.raises(StrayResultError) as caught:
        execute(project.manager(), "main")
    assert caught.value.node == "out"
    for part in ("'out'", says, "return a list", "main.py"):
        assert part in str(caught.value)


def test_dynamic_execution_is_refused_before_anything_runs(project, execute, ran):
    project.write(
        "main",
        """
        from hamilton.htypes import Collect, Parallelizable

        def before() -> int:
            ran.append("before")
            return 1

        def each(before: int) -> Parallelizable[int]:
            yield 1

        def all(each: Collect[int]) -> list:
            return list(each)
        """,
    )
    with pytest.raises(GraphError, match=r"'each'.*dynamic.*list") as caught:
        execute(project.manager(), "main")
    assert caught.value.node == "each"
    assert ran == []


# -- failures and cancellation ----------------------------------------------------------------

SIBLINGS = """
    import asyncio

    async def failing(started: object) -> int:
        await started.wait()
        raise RuntimeError("on purpose")

    async def sibling(started: object) -> int:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            ran.append("sibling ended")

    def below(sibling: int) -> int:
        return sibling

    def all_of_it(failing: int, below: int) -> int:
        return failing + below
"""


async def test_siblings_of_a_failed_node_are_cancelled(project, ran):
    project.write("main", SIBLINGS)
    pm = project.manager()
    for final_vars in (["all_of_it"], ["below", "failing"]):
        ran.clear()
        with pytest.raises(RuntimeError, match="on purpose") as caught:
            await pm.run_async("main", inputs={"started": asyncio.Event()}, final_vars=final_vars)
        assert ran == ["sibling ended"]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert caught.value.__context__ is None


async def test_a_cancelled_run_leaves_no_task(project, ran):
    project.write("main", SIBLINGS.replace("raise RuntimeError", "await asyncio.Event().wait() #"))
    started = asyncio.Event()
    run = asyncio.create_task(project.manager().run_async("main", inputs={"started": started}))
    await started.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert ran == ["sibling ended"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_run_over_its_time_leaves_no_task(project, ran):
    project.write("main", SIBLINGS)
    never = asyncio.Event()
    never.set()
    project.write("main", SIBLINGS.replace("raise RuntimeError", "await asyncio.Event().wait() #"))
    with pytest.raises(RunTimeoutError, match=r"timeout_s=0\.05"):
        await project.manager().run_async("main", inputs={"started": never}, timeout_s=0.05)
    assert ran == ["sibling ended"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_the_users_exception_is_passed_on_with_its_own_traceback(project, execute):
    file = project.write(
        "main", "def a() -> int:\n    return 1 // 0\ndef b(a: int) -> int:\n    return a\n"
    )
    with pytest.raises(ZeroDivisionError) as caught:
        execute(project.manager(), "main")
    assert [entry.path for entry in caught.traceback][-1] == file
    assert caught.value.__cause__ is None


def test_a_timeout_error_of_a_node_is_not_the_runs(project, execute):
    project.write("main", "async def a() -> int:\n    raise TimeoutError('the node itself')\n")
    with pytest.raises(TimeoutError, match="the node itself") as caught:
        execute(project.manager(), "main", timeout_s=60)
    assert not isinstance(caught.value, RunTimeoutError)


def test_time_limit_between_nodes_and_while_awaiting(project, execute):
    project.write(
        "main", "import asyncio\nasync def a() -> int:\n    await asyncio.Event().wait()\n"
    )
    with pytest.raises(RunTimeoutError, match=r"time limit|timeout_s"):
        execute(project.manager(), "main", timeout_s=0.02)


def test_time_limit_of_a_sync_run_is_looked_at_before_each_node(project, ran):
    project.write(
        "main",
        """
        import time

        def a() -> int:
            end = time.monotonic() + 0.02
            while time.monotonic() <= end:
                pass
            return 1

        def b(a: int) -> int:
            ran.append("b")
            return a
        """,
    )
    with pytest.raises(RunTimeoutError, match=r"timeout_s=0.01.*'b'"):
        project.manager().run("main", timeout_s=0.01)
    assert ran == []


# -- depth ------------------------------------------------------------------------------------


def chain(first: str, kind: str = "def") -> str:
    lines = [f"{kind} n0(seed: object) -> int:\n    {first}\n"]
    lines += [
        f"{kind} n{i}(n{i - 1}: int) -> int:\n    return n{i - 1} + 1\n" for i in range(1, DEPTH)
    ]
    return "".join(lines)


def test_a_deep_chain(project, execute):
    project.write("main", chain("return seed"))
    assert execute(project.manager(), "main", inputs={"seed": 1}) == {f"n{DEPTH - 1}": DEPTH}


def test_a_deep_chain_of_async_nodes(project, execute):
    project.write("main", chain("return seed", "async def"))
    assert execute(project.manager(), "main", inputs={"seed": 1}) == {f"n{DEPTH - 1}": DEPTH}


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_deep_chain_that_fails_at_its_bottom(project, execute, kind):
    project.write("main", chain("raise RuntimeError('at the bottom')", kind))
    with pytest.raises(RuntimeError, match="at the bottom"):
        execute(project.manager(), "main", inputs={"seed": 1})


async def test_a_deep_chain_that_is_cancelled(project):
    text = chain("seed.set(); await asyncio.Event().wait()", "async def")
    project.write("main", "import asyncio\n" + text)
    started = asyncio.Event()
    run = asyncio.create_task(project.manager().run_async("main", inputs={"seed": started}))
    await started.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_a_long_cycle(project, execute):
    text = "".join(
        f"def n{i}(n{(i + 1) % DEPTH}: int) -> int:\n    return 1\n" for i in range(DEPTH)
    )
    project.write("main", text)
    with pytest.raises(CycleError) as caught:
        execute(project.manager(), "main", final_vars=["n0"])
    assert len(caught.value.cycle) == DEPTH + 1


# -- executors --------------------------------------------------------------------------------


def test_threads(project, execute):
    project.write(
        "main",
        """
        import threading

        def a(barrier: object) -> int:
            barrier.wait()
            return threading.get_ident()

        def b(barrier: object) -> int:
            barrier.wait()
            return threading.get_ident()

        async def c(a: int, b: int) -> bool:
            return len({a, b, threading.get_ident()}) == 3
        """,
    )
    barrier = threading.Barrier(2, timeout=30)
    result = execute(
        project.manager(),
        "main",
        inputs={"barrier": barrier},
        executor="threads",
        executor_options={"max_workers": 2},
    )
    assert result == {"c": True}


def test_a_failure_in_a_thread(project, execute):
    project.write(
        "main", "def a() -> int:\n    return 1 // 0\ndef b(a: int) -> int:\n    return a\n"
    )
    with pytest.raises(ZeroDivisionError):
        execute(project.manager(), "main", executor="threads")


def test_stop_iteration_from_a_node(project, execute):
    """asyncio cannot carry a StopIteration in a future; the run must end all the same."""
    project.write("main", "def a() -> int:\n    return next(iter(()))\n")
    for executor in ("inline", "threads"):
        with pytest.raises((StopIteration, RuntimeError)):
            execute(project.manager(), "main", executor=executor, timeout_s=20)


@pytest.mark.parametrize(
    ("executor", "options"), [("inline", {"max_workers": 2}), ("threads", {"workers": 2})]
)
def test_options_that_the_executor_does_not_take(project, execute, executor, options):
    project.write("main", "def a() -> int:\n    return 1\n")
    with pytest.raises(ValueError, match=f"'{executor}'"):
        execute(project.manager(), "main", executor=executor, executor_options=options)


def test_dask(project, execute):
    distributed = pytest.importorskip("distributed")
    project.write(
        "helper", "N = 10\nclass Value:\n    def __init__(self, n):\n        self.n = n\n"
    )
    project.write(
        "main",
        """
        from pipelines.helper import N, Value

        def a(n: int) -> object:
            return Value(n * N)

        def b(a: object) -> int:
            return a.n + 1

        async def c(b: int) -> int:
            return b + 1

        def unhashable(n: int) -> dict:
            return {"key": [n]}

        def reserved(unhashable: dict, key: int, workers: int, retries: int) -> list:
            return [unhashable, key, workers, retries]
        """,
    )
    inputs = {"n": 2, "key": 1, "workers": 2, "retries": 3}
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        protocol="tcp",
        dashboard_address=None,
    ) as cluster:
        options = {"address": cluster.scheduler_address}
        result = execute(
            project.manager(), "main", inputs=inputs, executor="dask", executor_options=options
        )
    assert result == {"c": 22, "reserved": [{"key": [2]}, 1, 2, 3]}


def test_dask_in_another_process(project, execute):
    distributed = pytest.importorskip("distributed")
    project.write("helper", "N = 10\ndef scaled(n):\n    return n * N\n")
    project.write(
        "main", "from pipelines.helper import scaled\ndef a(n: int) -> int:\n    return scaled(n)\n"
    )
    pm = project.manager()
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        run = {
            "inputs": {"n": 2},
            "executor": "dask",
            "executor_options": {"address": cluster.scheduler_address},
        }
        assert execute(pm, "main", **run) == {"a": 20}
        project.write("helper", "N = 11\ndef scaled(n):\n    return n * N\n")
        assert execute(pm, "main", **run, reload=True) == {"a": 22}


def test_an_executor_whose_package_is_missing(project, execute, monkeypatch):
    import sys

    project.write("main", "def a() -> int:\n    return 1\n")
    for executor, package in (("dask", "distributed"), ("ray", "ray")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match=rf"'{executor}'.*hamdev\[{executor}\]"):
            execute(project.manager(), "main", executor=executor)


# -- keep_going, for the daemon's worker ------------------------------------------------------


class Steps:
    def __init__(self) -> None:
        self.steps: list[tuple[str, str]] = []

    def node_started(self, node: str, inputs: Any) -> None:
        self.steps.append(("started", node))

    def node_finished(self, node: str, value: Any, seconds: float) -> None:
        self.steps.append(("finished", node))
        assert seconds >= 0

    def node_failed(self, node: str, error: BaseException, seconds: float) -> None:
        self.steps.append(("failed", node))

    def node_blocked(self, node: str, by: str) -> None:
        self.steps.append(("blocked", f"{node} by {by}"))


async def test_nodes_that_do_not_depend_on_a_failed_one_go_on(project):
    project.write(
        "main",
        """
        def a() -> int:
            raise RuntimeError("a")
        def b(a: int) -> int:
            return a
        def c(b: int, other: int) -> int:
            return b
        def other() -> int:
            return 1
        async def leaf(other: int) -> int:
            return other
        """,
    )
    pm, observer = project.manager(), Steps()
    with pytest.raises(RuntimeError, match="a"):
        await pm.execute_async("main", pm.configure("main", None, {}), observer, keep_going=True)
    assert set(observer.steps) == {
        ("started", "a"),
        ("failed", "a"),
        ("blocked", "b by a"),
        ("blocked", "c by a"),
        ("started", "other"),
        ("finished", "other"),
        ("started", "leaf"),
        ("finished", "leaf"),
    }
    assert len(observer.steps) == 8


# -- logging ----------------------------------------------------------------------------------


def test_log_level_holds_for_that_run_alone(project, execute, capsys):
    import logging

    import structlog

    project.write("main", "def a() -> int:\n    return 1\n")
    pm = project.manager()
    root = logging.getLogger()
    levels = {
        name: logging.getLogger(name).level for name in ("", "hamilton", "hamdev", "structlog")
    }
    before = (root.level, list(root.handlers), logging.lastResort, structlog.get_config())
    assert execute(pm, "main", log_level="DEBUG") == {"a": 1}
    err = capsys.readouterr().err
    for part in ("run started", "node started", "node finished", "run finished"):
        assert part in err
    assert (root.level, list(root.handlers), logging.lastResort, structlog.get_config()) == before
    assert not structlog.is_configured()
    assert {name: logging.getLogger(name).level for name in levels} == levels
    assert execute(pm, "main") == {"a": 1}
    assert capsys.readouterr().err == ""
    assert execute(pm, "main", log_level="info") == {"a": 1}
    err = capsys.readouterr().err
    assert "run finished" in err
    assert "node finished" not in err
