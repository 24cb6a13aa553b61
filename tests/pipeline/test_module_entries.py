"""Names, module objects, order and duplicates; and what an import error says."""

from __future__ import annotations

import importlib.util
import sys
import traceback
import types

import pytest

from hamdev import PipelineManager
from hamdev.errors import ModuleMissingError


def in_memory(name: str, text: str) -> types.ModuleType:
    module = types.ModuleType(name)
    exec(compile(text, f"<{name}>", "exec"), vars(module))
    return module


def test_a_short_name_is_looked_up_in_the_pipelines_folder_first(project, execute):
    project.write("main", "def out() -> str:\n    return 'pipelines'\n")
    project.write("main.py", "def out() -> str:\n    return 'root'\n")
    pm = project.manager()
    assert execute(pm, "main") == {"out": "pipelines"}
    project.file("main").unlink()
    assert execute(project.manager(), "main") == {"out": "root"}


def test_full_names_and_nested_names(project, execute):
    project.write("pipelines/etl/daily.py", "def out() -> int:\n    return 1\n")
    pm = project.manager()
    assert execute(pm, "pipelines.etl.daily") == {"out": 1}
    assert execute(pm, "etl.daily") == {"out": 1}


def test_dashes_stand_for_underscores(project, execute):
    project.write("set_up", "def n() -> int:\n    return 1\n")
    project.write("pipeline_1", "def out(n: int) -> int:\n    return n\n")
    pm = project.manager()
    assert execute(pm, "pipeline-1", additional_modules=["set-up"]) == {"out": 1}
    assert execute(pm, "pipeline-1", additional_modules=["set-up"], reload=True) == {"out": 1}


def test_another_pipelines_folder(project, execute):
    project.write("flows/main.py", "def out() -> int:\n    return 1\n")
    assert execute(PipelineManager(project.root, pipelines_dir="flows"), "main") == {"out": 1}
    project.write("devserver.toml", '[watch]\npipelines_dir = "flows"\n')
    assert execute(project.manager(), "main") == {"out": 1}


@pytest.mark.parametrize("name", ["pipelines/main.py", "main.py", "", ".", "a..b", "nope.nope"])
def test_what_is_no_module_name_is_a_missing_module(project, execute, name):
    project.write("main", "def out() -> int:\n    return 1\n")
    with pytest.raises(ModuleMissingError) as caught:
        execute(project.manager(), name)
    assert repr(name) in str(caught.value)
    if name.endswith(".py"):
        assert "not its path" in str(caught.value)


def test_the_error_knows_which_files_would_mend_it(project):
    with pytest.raises(ModuleMissingError) as caught:
        project.manager().run("my-flow")
    assert caught.value.attempted == [
        "pipelines.my-flow",
        "pipelines.my_flow",
        "my-flow",
        "my_flow",
    ]
    assert str(project.file("my_flow")) in caught.value.candidates


@pytest.mark.parametrize("place", ["module", "helper", "package"])
def test_an_import_error_inside_a_found_module_is_passed_on(project, execute, place):
    broken = "import a_library_that_is_not_there\n"
    project.write("pipelines/__init__.py", broken if place == "package" else "")
    project.write("helper", broken if place == "helper" else "")
    project.write("main", broken if place == "module" else "from pipelines import helper\n")
    with pytest.raises(ModuleNotFoundError) as caught:
        execute(project.manager(), "main")
    assert caught.value.name == "a_library_that_is_not_there"
    assert not isinstance(caught.value, ModuleMissingError)
    assert "pipeline module 'pipelines.main'" in "".join(caught.value.__notes__)
    assert "import a_library_that_is_not_there" in "".join(traceback.format_exception(caught.value))


def test_the_same_exception_object_is_passed_on(project, execute):
    project.write("main", "class Mine(ImportError):\n    pass\nerror = Mine('x')\nraise error\n")
    with pytest.raises(ImportError) as caught:
        execute(project.manager(), "main")
    assert type(caught.value).__name__ == "Mine"
    assert str(caught.value) == "x"


def test_a_module_made_in_memory(project, execute):
    project.write("main", "def out(n: int) -> int:\n    return n\n")
    n = in_memory("made_in_memory", "def n() -> int:\n    return 4\n")
    pm = project.manager()
    assert execute(pm, "main", additional_modules=[n]) == {"out": 4}
    assert execute(pm, "main", additional_modules=[n], reload=True) == {"out": 4}
    assert "made_in_memory" not in sys.modules
    main = in_memory("main_in_memory", "def out() -> int:\n    return 5\n")
    assert execute(pm, main) == {"out": 5}


def test_a_module_in_memory_does_not_displace_one_of_its_name(project, execute):
    project.write("main", "def out() -> int:\n    return 1\n")
    pm = project.manager()
    assert execute(pm, "main") == {"out": 1}
    twin = in_memory("pipelines.main", "def out() -> int:\n    return 2\n")
    assert execute(pm, twin) == {"out": 2}
    assert execute(pm, "main") == {"out": 1}


def test_a_module_loaded_by_its_path(project, tmp_path, execute):
    file = tmp_path / "somewhere.py"
    file.write_text("def out() -> int:\n    return 1\n")
    spec = importlib.util.spec_from_file_location("loaded_by_path", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pm = project.manager()
    assert execute(pm, module) == {"out": 1}
    file.write_text("def out() -> int:\n    return 2\n")
    assert execute(pm, module, reload=True) == {"out": 2}
    sys.modules.pop("loaded_by_path", None)


@pytest.mark.parametrize("reload", [False, True])
def test_duplicates_are_dropped_and_the_last_place_counts(project, execute, reload):
    project.write("a", "def n() -> str:\n    return 'a'\n")
    project.write("b", "def n() -> str:\n    return 'b'\n")
    project.write("main", "def out(n: str) -> str:\n    return n\n")
    pm = project.manager()

    def out(*names: str) -> str:
        return execute(pm, "main", additional_modules=names, reload=reload)["out"]

    assert out("a", "b", "a") == "a"
    assert out("a", "b", "pipelines.b", "main") == "b"
    with pm.prepared(
        "main", pm.configure("main", None, {"additional_modules": ["a", "b", "a"]}), _modules_only
    ) as prepared:
        assert [m.__name__ for m in prepared.modules] == [
            "pipelines.b",
            "pipelines.a",
            "pipelines.main",
        ]


def _modules_only(modules, config):
    from hamdev.pipeline.manager import build_sync

    return build_sync(modules, config)


def test_the_main_module_wins(project, execute):
    project.write("a", "def n() -> str:\n    return 'a'\n")
    project.write("main", "def n() -> str:\n    return 'main'\n")
    assert execute(project.manager(), "main", additional_modules=["a"]) == {"n": "main"}


def test_base_dir_must_be_a_folder(tmp_path):
    with pytest.raises(NotADirectoryError, match="nowhere"):
        PipelineManager(tmp_path / "nowhere")


def test_a_library_of_the_host_keeps_its_name(project, monkeypatch):
    """A file of the project that has the name of a standard module does not displace it."""
    import json

    project.write("json.py", "raise RuntimeError('not me')\n")
    project.write("main", "import json\ndef out() -> str:\n    return json.dumps(1)\n")
    assert project.manager().run("main") == {"out": "1"}
    assert sys.modules["json"] is json
