"""`reload=True`: what is executed again, what is not, and that a failure changes nothing."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import textwrap
import threading
import traceback
import types

import pytest

from hamdev import PipelineManager

COUNTED = "import builtins\nbuiltins.executions.append(__name__)\n"


@pytest.fixture
def executions(monkeypatch) -> list[str]:
    """The names of modules in the order in which they are executed (those with COUNTED)."""
    import builtins

    seen: list[str] = []
    monkeypatch.setattr(builtins, "executions", seen, raising=False)
    return seen


def test_a_changed_helper_and_all_that_is_built_on_it_is_executed_again(
    project, executions, execute
):
    project.write("base", "N = 1\n" + COUNTED)
    project.write("middle", "from pipelines.base import N\nM = N * 10\n" + COUNTED)
    project.write("other", COUNTED + "K = 5\n")
    project.write(
        "main",
        "from pipelines import middle, other\n"
        + COUNTED
        + "def out() -> int:\n    return middle.M + other.K\n",
    )
    pm = project.manager()
    assert execute(pm, "main") == {"out": 15}
    executions.clear()
    project.write("base", "N = 2\n" + COUNTED)
    assert execute(pm, "main", reload=True) == {"out": 25}
    assert executions == ["pipelines.base", "pipelines.middle", "pipelines.main"]


def test_nothing_changed_executes_only_the_entries(project, executions):
    project.write("helper", COUNTED + "N = 1\n")
    project.write("setup", COUNTED + "def n() -> int:\n    return 1\n")
    project.write(
        "main", COUNTED + "from pipelines import helper\ndef out(n: int) -> int:\n    return n\n"
    )
    pm = project.manager()
    pm.run("main", additional_modules=["setup"])
    executions.clear()
    pm.run("main", additional_modules=["setup"], reload=True)
    assert sorted(executions) == ["pipelines.main", "pipelines.setup"]


def test_a_dependent_that_is_no_entry_of_this_run_does_not_keep_old_code(project):
    project.write("helper", "N = 1\n")
    project.write("a", "from pipelines.helper import N\ndef a() -> int:\n    return N\n")
    project.write("b", "from pipelines.helper import N\ndef b() -> int:\n    return N\n")
    pm = project.manager()
    assert pm.run("a") | pm.run("b") == {"a": 1, "b": 1}
    project.write("helper", "N = 2\n")
    assert pm.run("a", reload=True) == {"a": 2}
    assert pm.run("b") == {"b": 2}


def test_names_that_left_the_file_are_gone(project, execute):
    project.write("main", "def a() -> int:\n    return 1\ndef b() -> int:\n    return 2\n")
    pm = project.manager()
    assert execute(pm, "main") == {"a": 1, "b": 2}
    project.write("main", "def a() -> int:\n    return 1\n")
    assert execute(pm, "main", reload=True) == {"a": 1}
    assert not hasattr(sys.modules["pipelines.main"], "b")


def test_without_reload_the_loaded_code_stays(project, execute):
    project.write("main", "def a() -> int:\n    return 1\n")
    pm = project.manager()
    execute(pm, "main")
    project.write("main", "def a() -> int:\n    return 2\n")
    assert execute(pm, "main") == {"a": 1}


BREAKS = {
    "syntax": ("setup", "def n( -> int:\n", SyntaxError),
    "import": ("setup", "import nothing_of_this_name\n", ModuleNotFoundError),
    "raises": ("main", "from pipelines import helper\n1 / 0\n", ZeroDivisionError),
    "helper": ("helper", "raise RuntimeError('half way')\n", RuntimeError),
    "graph": ("main", "def out(n: str, *args) -> int:\n    return 0\n", Exception),
    "input": ("main", "def out(n: int, unknown: int) -> int:\n    return 0\n", ValueError),
}


@pytest.mark.parametrize("which", BREAKS)
def test_a_failed_reload_changes_nothing_and_says_where(project, execute, which):
    project.write("helper", "N = 1\n")
    project.write("setup", "from pipelines import helper\ndef n() -> int:\n    return helper.N\n")
    project.write("main", "from pipelines import helper\ndef out(n: int) -> int:\n    return n\n")
    pm = project.manager()
    assert execute(pm, "main", additional_modules=["setup"]) == {"out": 1}
    names = [name for name in sys.modules if name.startswith("pipelines")]
    before = {name: sys.modules[name] for name in names}
    contents = {name: dict(vars(module)) for name, module in before.items()}
    sources = pm.project.sources

    project.write("helper", "N = 2\n")
    name, text, error = BREAKS[which]
    project.write(name, text)
    with pytest.raises(error) as caught:
        execute(pm, "main", additional_modules=["setup"], reload=True)
    said = "".join(traceback.format_exception(caught.value))
    where = {"input": "unknown", "graph": "pipelines.main"}.get(which, f"pipelines/{name}.py")
    assert where in said
    if which in {"syntax", "import", "helper"}:
        assert "raised while importing pipeline module 'pipelines.setup'" in said

    assert {n: m for n, m in sys.modules.items() if n.startswith("pipelines")} == before
    assert {name: dict(vars(module)) for name, module in before.items()} == contents
    assert pm.project.sources == sources
    assert execute(pm, "main", additional_modules=["setup"]) == {"out": 1}

    project.write("helper", "N = 3\n")
    project.write("setup", "from pipelines import helper\ndef n() -> int:\n    return helper.N\n")
    project.write("main", "from pipelines import helper\ndef out(n: int) -> int:\n    return n\n")
    assert execute(pm, "main", additional_modules=["setup"], reload=True) == {"out": 3}


def test_what_a_failed_load_read_is_known(project):
    good = project.write("setup", "def n() -> int:\n    return 1\n")
    bad = project.write("main", "def out(n: int) -> int\n")
    pm = project.manager()
    with pytest.raises(SyntaxError):
        pm.run("main", additional_modules=["setup"])
    files = pm.project.attempted_files()
    assert files[str(good)]
    assert files[str(bad)]
    with pytest.raises(ImportError):
        pm.run("later")
    assert pm.project.attempted_files()[str(project.file("later"))] is None


def test_stale_bytecode_is_never_used(tmp_path):
    """Edits of one size within one second, in a process that may write `.pyc` files."""
    script = """
        import sys
        from pathlib import Path
        from hamdev import PipelineManager

        assert not sys.dont_write_bytecode
        root = Path(sys.argv[1])
        (root / "pipelines").mkdir()
        helper, main = root / "pipelines/helper.py", root / "pipelines/main.py"
        main.write_text("from pipelines.helper import N\\ndef out() -> int:\\n    return N\\n")
        pm = PipelineManager(root)
        for n in range(100, 150):
            helper.write_text(f"N = {n}\\n")
            result = pm.run("main", reload=True)
            assert result == {"out": n}, (n, result)
        for n in range(100, 150):
            main.write_text(f"def out() -> int:\\n    return {n}\\n")
            result = pm.run("main", reload=True)
            assert result == {"out": n}, (n, result)
        assert not list(root.rglob("*.pyc"))
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_two_runs_at_once_never_see_half_of_a_reload(project):
    def write(n: int) -> None:
        project.write("helper", f"N = {n}\n")
        project.write(
            "left", f"from pipelines.helper import N\ndef left() -> int:\n    return {n} - N\n"
        )
        project.write(
            "right", f"from pipelines.helper import N\ndef right() -> int:\n    return N - {n}\n"
        )

    project.write("main", "def pair(left: int, right: int) -> list:\n    return [left, right]\n")
    write(0)
    pm = project.manager()
    pm.run("main", additional_modules=["left", "right"])
    disk = threading.Lock()  # so that each reload finds three files of one edit
    start = threading.Barrier(3)
    results: list[list[int]] = []
    failures: list[BaseException] = []

    def reloading(first: int) -> None:
        start.wait()
        try:
            for n in range(first, first + 20):
                with disk:
                    write(n)
                    config = pm.configure(
                        "main", None, {"additional_modules": ["left", "right"], "reload": True}
                    )
                    results.append(pm.run("main", config)["pair"])
        except BaseException as error:
            failures.append(error)

    def running() -> None:
        start.wait()
        try:
            results.extend(
                pm.run("main", additional_modules=["left", "right"])["pair"] for _ in range(60)
            )
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=reloading, args=(100,)),
        threading.Thread(target=reloading, args=(200,)),
        threading.Thread(target=running),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert results == [[0, 0]] * 100


def test_two_threads_reload_the_same_pipeline(project):
    project.write("helper", "N = 1\n")
    project.write("main", "from pipelines import helper\ndef out() -> int:\n    return helper.N\n")
    pm = project.manager()
    results: list[int] = []
    start = threading.Barrier(4)

    def reloading() -> None:
        start.wait()
        results.extend(pm.run("main", reload=True)["out"] for _ in range(15))

    threads = [threading.Thread(target=reloading) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1] * 60


def test_a_run_that_goes_on_keeps_the_code_it_began_with(project):
    project.write("helper", "N = 1\n")
    project.write(
        "main",
        """
        import pipelines.helper

        def first(gate: object) -> int:
            gate.reached.set()
            assert gate.go_on.wait(30)
            return pipelines.helper.N

        def second(first: int) -> list:
            return [first, pipelines.helper.N]
        """,
    )
    pm = project.manager()
    gate = types.SimpleNamespace(reached=threading.Event(), go_on=threading.Event())
    results: list[dict] = []
    thread = threading.Thread(target=lambda: results.append(pm.run("main", inputs={"gate": gate})))
    thread.start()
    assert gate.reached.wait(30)
    project.write("helper", "N = 2\n")
    fresh = types.SimpleNamespace(reached=threading.Event(), go_on=threading.Event())
    fresh.go_on.set()
    assert pm.run("main", inputs={"gate": fresh}, reload=True) == {"second": [2, 2]}
    gate.go_on.set()
    thread.join()
    assert results == [{"second": [1, 1]}]


def test_two_managers_with_the_same_module_names(tmp_path, project, execute):
    roots = [tmp_path / "one", tmp_path / "two"]
    for number, root in enumerate(roots):
        (root / "pipelines").mkdir(parents=True)
        (root / "pipelines" / "helper.py").write_text(f"N = {number}\n")
        (root / "pipelines" / "main.py").write_text(
            "from pipelines.helper import N\ndef out() -> int:\n    return N\n"
        )
    one, two = [PipelineManager(root) for root in roots]
    for reload in (False, True, False):
        assert execute(one, "main", reload=reload) == {"out": 0}
        assert execute(two, "main", reload=reload) == {"out": 1}
    (roots[0] / "pipelines" / "helper.py").write_text("N = 5\n")
    assert execute(two, "main", reload=True) == {"out": 1}
    assert execute(one, "main") == {"out": 0}
    assert execute(one, "main", reload=True) == {"out": 5}
    assert execute(two, "main") == {"out": 1}


def test_a_module_outside_base_dir_is_found_and_reloaded(project, tmp_path, monkeypatch, execute):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "shared_nodes.py").write_text("def n() -> int:\n    return 1\n")
    monkeypatch.syspath_prepend(str(elsewhere))
    project.write("main", "def out(n: int) -> int:\n    return n\n")
    pm = project.manager()
    assert execute(pm, "main", additional_modules=["shared_nodes"]) == {"out": 1}
    (elsewhere / "shared_nodes.py").write_text("def n() -> int:\n    return 2\n")
    assert execute(pm, "main", additional_modules=["shared_nodes"], reload=True) == {"out": 2}


def test_circular_imports_between_project_modules(project, execute):
    project.write(
        "ping", "import pipelines.pong\nN = 1\ndef ping() -> int:\n    return pipelines.pong.N\n"
    )
    project.write(
        "pong",
        "import pipelines.ping\nN = 2\n"
        "def pong(ping: int) -> list:\n    return [ping, pipelines.ping.N]\n",
    )
    pm = project.manager()
    assert execute(pm, "pong", additional_modules=["ping"]) == {"pong": [2, 1]}
    project.write("ping", project.file("ping").read_text().replace("N = 1", "N = 5"))
    assert execute(pm, "pong", additional_modules=["ping"], reload=True) == {"pong": [2, 5]}
    project.write("pong", project.file("pong").read_text().replace("N = 2", "N = 6"))
    assert execute(pm, "pong", reload=True, additional_modules=["ping"]) == {"pong": [6, 5]}


@pytest.mark.parametrize("package", [True, False], ids=["package", "namespace"])
def test_packages_with_relative_imports(project, executions, execute, package):
    if package:
        project.write("pipelines/__init__.py", "")
        project.write("pipelines/lib/__init__.py", COUNTED + "K = 7\n")
    project.write("pipelines/lib/deep.py", COUNTED + "N = 1\n")
    project.write("pipelines/lib/near.py", COUNTED + "from .deep import N\nfrom . import deep\n")
    project.write("pipelines/lib/idle.py", COUNTED)
    project.write(
        "main",
        """
        from .lib import idle
        from .lib.near import N
        from . import lib

        def out() -> list:
            return [N, lib.deep.N, lib.near.deep.N]
        """,
    )
    pm = project.manager()
    assert execute(pm, "main") == {"out": [1, 1, 1]}
    executions.clear()
    project.write("pipelines/lib/deep.py", COUNTED + "N = 2\n")
    assert execute(pm, "main", reload=True) == {"out": [2, 2, 2]}
    assert sorted(executions) == ["pipelines.lib.deep", "pipelines.lib.near"]
    executions.clear()
    if package:
        project.write("pipelines/lib/__init__.py", COUNTED + "from .deep import N as K\n")
        assert execute(pm, "main", reload=True) == {"out": [2, 2, 2]}
        assert executions == ["pipelines.lib", "pipelines.lib.near"]
        assert sys.modules["pipelines.lib"].idle is sys.modules["pipelines.lib.idle"]


def test_a_package_that_exports_a_changed_submodule(project, execute):
    project.write("pipelines/lib/__init__.py", "from .deep import N\n")
    project.write("pipelines/lib/deep.py", "N = 1\n")
    project.write("main", "from pipelines.lib import N\ndef out() -> int:\n    return N\n")
    project.write("user", "from pipelines import lib\ndef user() -> int:\n    return lib.deep.N\n")
    pm = project.manager()
    assert execute(pm, "main", additional_modules=["user"]) == {"out": 1, "user": 1}
    project.write("pipelines/lib/deep.py", "N = 2\n")
    assert execute(pm, "main", reload=True) == {"out": 2}
    assert execute(pm, "user") == {"user": 2}


def test_a_pipeline_that_is_a_package(project, execute):
    project.write(
        "pipelines/flow/__init__.py",
        "from .steps import *\ndef top(a: int) -> int:\n    return a\n",
    )
    project.write("pipelines/flow/steps.py", "def a() -> int:\n    return 1\n")
    pm = project.manager()
    assert execute(pm, "flow") == {"top": 1}
    project.write("pipelines/flow/steps.py", "def a() -> int:\n    return 2\n")
    assert execute(pm, "flow", reload=True) == {"top": 2}


def test_a_submodule_is_an_attribute_of_its_package_after_a_reload(project, execute):
    project.write("helper", "N = 1\n")
    project.write(
        "main", "import pipelines.helper\ndef out() -> int:\n    return pipelines.helper.N\n"
    )
    pm = project.manager()
    assert execute(pm, "main") == {"out": 1}
    project.write("helper", "N = 2\n")
    assert execute(pm, "main", reload=True) == {"out": 2}
    assert sys.modules["pipelines"].helper is sys.modules["pipelines.helper"]
    assert sys.modules["pipelines"].main is sys.modules["pipelines.main"]


def test_a_module_that_becomes_a_package_and_back(project, execute):
    project.write("helper", "N = 1\n")
    project.write("main", "from pipelines.helper import N\ndef out() -> int:\n    return N\n")
    pm = project.manager()
    assert execute(pm, "main") == {"out": 1}
    package = project.write("pipelines/helper/__init__.py", "N = 2\n")
    assert execute(pm, "main", reload=True) == {"out": 2}
    package.unlink()
    package.parent.rmdir()
    assert execute(pm, "main", reload=True) == {"out": 1}


def test_an_optional_import_whose_file_appears(project, execute):
    project.write(
        "helper", "try:\n    from pipelines.extra import N\nexcept ImportError:\n    N = 0\n"
    )
    project.write("main", "from pipelines import helper\ndef out() -> int:\n    return helper.N\n")
    pm = project.manager()
    assert execute(pm, "main") == {"out": 0}
    extra = project.write("extra", "N = 9\n")
    assert execute(pm, "main", reload=True) == {"out": 9}
    extra.unlink()
    assert execute(pm, "main", reload=True) == {"out": 0}
    assert "pipelines.extra" not in sys.modules


def test_modules_imported_normally_before_are_taken_over_at_the_first_reload(
    project, monkeypatch, execute
):
    project.write("helper", "N = 1\n")
    project.write("main", "from pipelines.helper import N\ndef out() -> int:\n    return N\n")
    monkeypatch.syspath_prepend(str(project.root))
    import pipelines.main

    assert pipelines.main.out() == 1
    project.write("helper", "N = 2\n")
    pm = project.manager()
    assert execute(pm, "main") == {"out": 1}
    assert execute(pm, "main", reload=True) == {"out": 2}


def test_a_module_object_is_reloaded_and_stays_usable(project, monkeypatch, execute):
    project.write("main", "def out() -> int:\n    return 1\n")
    monkeypatch.syspath_prepend(str(project.root))
    import pipelines.main as main

    pm = project.manager()
    assert execute(pm, main) == {"out": 1}
    project.write("main", "def out() -> int:\n    return 2\n")
    assert execute(pm, main, reload=True) == {"out": 2}
    assert execute(pm, main) == {"out": 2}
    assert main.out() == 1


def test_imports_inside_functions_count(project, execute):
    project.write("helper", "N = 1\n")
    project.write(
        "main", "def out() -> int:\n    from pipelines import helper\n    return helper.N\n"
    )
    pm = project.manager()
    assert execute(pm, "main") == {"out": 1}
    project.write("helper", "N = 2\n")
    assert execute(pm, "main", reload=True) == {"out": 2}


def test_dynamic_imports_count(project, execute):
    project.write("helper", "N = 1\n")
    project.write(
        "loader",
        "import importlib\nN = importlib.import_module('pipelines.' + 'helper').N\n",
    )
    project.write("main", "from pipelines import loader\ndef out() -> int:\n    return loader.N\n")
    pm = project.manager()
    assert execute(pm, "main") == {"out": 1}
    project.write("helper", "N = 2\n")
    assert execute(pm, "main", reload=True) == {"out": 2}


def test_tracebacks_and_inspect_show_the_text_that_was_loaded(project):
    project.write("main", "def out() -> int:\n    return 1 / 0  # as loaded\n")
    pm = project.manager()
    with pytest.raises(ZeroDivisionError):
        pm.run("main")
    project.write("main", "\n\n\n# something else\n")
    with pytest.raises(ZeroDivisionError) as caught:
        pm.run("main")
    assert "# as loaded" in "".join(traceback.format_exception(caught.value))
    assert "# as loaded" in inspect.getsource(sys.modules["pipelines.main"].out)
    assert "# as loaded" in pm.project.sources["pipelines.main"].text


def test_many_reloads_keep_no_old_modules(project):
    import gc
    import weakref

    project.write("main", "def out() -> int:\n    return 0\n")
    pm = project.manager()
    old = []
    for n in range(1, 20):
        pm.run("main")
        old.append(weakref.ref(sys.modules["pipelines.main"]))
        project.write("main", f"def out() -> int:\n    return {n}\n")
        assert pm.run("main", reload=True) == {"out": n}
    gc.collect()
    assert sum(reference() is not None for reference in old) <= 1


def test_the_finder_is_put_into_the_import_system_once(project):
    project.write("main", "def out() -> int:\n    return 0\n")
    project.manager().run("main")
    before = list(sys.meta_path)
    for _ in range(3):
        project.manager().run("main")
    assert sys.meta_path == before


def test_libraries_inside_the_project_are_not_its_own(project):
    own = project.manager().project
    assert own.owns(str(project.file("main")))
    assert not own.owns(str(project.root / ".venv/lib/python3.11/site-packages/x.py"))
    assert not own.owns(str(project.root / "pipelines/native.so"))
    assert not own.owns(os.__file__)
    assert not own.owns(None)
