"""Objects of a module that functions change while nodes run: each run finds them as new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker_process import WorkerProcess

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk

COUNTER = """
CACHE = {}
COUNTER = 0
def _remembered(x):
    CACHE[x] = len(CACHE)
    return CACHE[x]
def a() -> int:
    global COUNTER
    COUNTER += 1
    return COUNTER
def b() -> int:
    return _remembered('b')
def c(b: int) -> list:
    return [b, sorted(CACHE)]
def d() -> int:
    return 5
"""


def _ran(worker: WorkerProcess) -> set[str]:
    found = worker.run()
    worker.check(found)
    return set(found.ran)


def test_nodes_that_share_state_run_together_or_not_at_all(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("main", COUNTER)
    assert _ran(worker) == {"a", "b", "c", "d"}
    assert _ran(worker) == set()
    project.write("main", COUNTER.replace("[b, sorted", "[b, 1, sorted"))
    assert _ran(worker) == {"b", "c"}
    assert worker.value("c") == [0, 1, ["b"]]
    project.write("main", COUNTER.replace("return 5", "return 6"))
    assert _ran(worker) == {"b", "c", "d"}


def test_the_plan_says_which_state_makes_a_node_run(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("main", COUNTER)
    worker.run()
    project.write("main", COUNTER.replace("[b, sorted", "[b, 1, sorted"))
    found = worker.run()
    assert "shares 'pipelines.main.CACHE'" in found.reasons("b")


def test_a_node_that_joins_or_leaves_makes_those_that_share_state_run(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    more = "def e() -> int:\n    global COUNTER\n    COUNTER += 10\n    return COUNTER\n"
    project.write("main", COUNTER)
    worker.run()
    project.write("main", COUNTER + more)
    assert _ran(worker) == {"a", "e"}
    project.write("main", COUNTER)
    assert _ran(worker) == {"a"}


def test_state_that_another_module_imports_is_one_object_after_it_was_made_anew(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("store.py", "SEEN = []\ndef see(x):\n    SEEN.append(x)\n    return len(SEEN)\n")
    text = "from store import SEEN, see\ndef a() -> list:\n    return [see(1), len(SEEN)]\n"
    project.write("main", text)
    worker.check(worker.run())
    project.write("main", text.replace("see(1)", "see(2)"))
    assert _ran(worker) == {"a"}
    assert worker.value("a") == [1, 1]


def test_a_registry_that_is_filled_at_load_time_is_no_state(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    text = """
    REGISTRY = {}
    def _register(function):
        REGISTRY[function.__name__] = function
        return function
    @_register
    def _one():
        return 1
    @_register
    def _two():
        return 2
    def a() -> int:
        return sum(f() for f in REGISTRY.values())
    def b() -> int:
        return len(REGISTRY)
    """
    project.write("main", text)
    worker.check(worker.run())
    project.write("main", text.replace("return len", "return 1 + len"))
    assert _ran(worker) == {"b"}
    project.write("main", text.replace("return 2", "return 3"))
    assert _ran(worker) == {"a", "b"}
    assert worker.value("a") == 4


def test_calls_that_a_decorator_counts_are_state(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    text = """
    from functools import wraps
    CALLS = []
    def _counted(f):
        @wraps(f)
        def inner(*a, **k):
            CALLS.append(f.__name__)
            return f(*a, **k)
        return inner
    @_counted
    def _one():
        return 1
    def a() -> int:
        return _one() + len(CALLS)
    def b(a: int) -> int:
        return _one() + len(CALLS)
    def other() -> int:
        return 1
    """
    project.write("main", text)
    worker.check(worker.run())
    project.write(
        "main",
        text.replace(
            "def b(a: int) -> int:\n        return", "def b(a: int) -> int:\n        return 1 +"
        ),
    )
    assert _ran(worker) == {"a", "b"}


def test_a_class_that_counts_its_instances(project: ProjectOnDisk, worker: WorkerProcess) -> None:
    text = """
    class Counted:
        made = 0
        def __init__(self):
            Counted.made += 1
            self.number = Counted.made
    def a() -> object:
        return Counted()
    def passed_on(a: object) -> object:
        return a
    def b(passed_on: object) -> list:
        return [isinstance(passed_on, Counted), Counted().number, passed_on.number]
    def other() -> int:
        return 1
    """
    project.write("main", text)
    worker.check(worker.run())
    assert _ran(worker) == set()
    project.write("main", text.replace("on.number]", "on.number, 1]"))
    assert _ran(worker) == {"a", "passed_on", "b"}
    assert worker.value("b") == [True, 2, 1, 1]
    project.write(
        "main", text.replace("return 1", "return 2").replace("on.number]", "on.number, 1]")
    )
    assert _ran(worker) == {"other"}


def test_an_instance_in_a_module_that_counts(project: ProjectOnDisk, worker: WorkerProcess) -> None:
    text = """
    class _Meter:
        def __init__(self):
            self.total = 0
        def add(self, n):
            self.total += n
            return self.total
    METER = _Meter()
    def a() -> int:
        return METER.add(1)
    def b(a: int) -> int:
        return METER.add(a)
    """
    project.write("main", text)
    worker.check(worker.run())
    project.write("main", text.replace("add(a)", "add(a + 1)"))
    assert _ran(worker) == {"a", "b"}
    assert worker.value("b") == 3


def test_a_memo_of_one_node_costs_nothing_while_the_node_is_reused(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    text = """
    MEMO = {}
    def _slow(x):
        if x not in MEMO:
            MEMO[x] = x * 2
        return MEMO[x]
    def root() -> int:
        return _slow(3)
    def leaf(root: int) -> int:
        return root + 1
    """
    project.write("main", text)
    worker.check(worker.run())
    project.write("main", text.replace("root + 1", "root + 2"))
    assert _ran(worker) == {"leaf"}
    project.write("main", text.replace("x * 2", "x * 3"))
    assert _ran(worker) == {"root", "leaf"}
    assert worker.value("root") == 9


def test_state_that_another_module_imported_by_name(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("store.py", "CACHE = {}\ndef note(x):\n    CACHE[x] = len(CACHE)\n")
    text = """
    from store import CACHE, note
    from store import CACHE as KNOWN
    def a() -> list:
        note("a")
        return [sorted(CACHE), sorted(KNOWN)]
    def b(a: list) -> int:
        return 1
    """
    project.write("main", text)
    _ran(worker)
    project.write("main", text.replace('note("a")', 'note("b")'))
    assert _ran(worker) >= {"a"}
    assert worker.value("a") == [["b"], ["b"]]


def test_an_object_that_a_function_with_a_cache_makes_once(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    text = """
    from functools import lru_cache
    class _Meter:
        def __init__(self):
            self.total = 0
        def add(self, n):
            self.total += n
            return self.total
    @lru_cache
    def _meter():
        return _Meter()
    def a() -> int:
        return _meter().add(1)
    def b(a: int) -> int:
        return _meter().add(a)
    def other() -> int:
        return 1
    """
    project.write("main", text)
    worker.check(worker.run())
    project.write("main", text.replace("add(a)", "add(a + 1)"))
    assert _ran(worker) == {"a", "b"}
    assert worker.value("b") == 3
    assert worker.run().ran == []
