from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from code_projects import OUTSIDE, codebase, read, version

from hamdev.core.versions import Codebase, differences


def edits(file: str) -> list[Any]:
    found = tomllib.loads(Path(__file__).with_name(file).read_text())["edit"]
    return [pytest.param(edit, id=edit["id"]) for edit in found]


def before_and_after(edit: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    before, module = edit["modules"], edit.get("module", "m")
    assert edit["old"] in before[module]
    return before, {**before, module: before[module].replace(edit["old"], edit["new"], 1)}


@pytest.mark.parametrize("edit", edits("edits.toml"))
def test_an_edit_changes_the_versions_of_what_it_may_affect_and_of_nothing_else(
    edit: dict[str, Any],
) -> None:
    before, after = before_and_after(edit)
    old, new = codebase(before), codebase(after)
    changed, same = edit.get("changed", ["f"]), edit.get("same", [])
    differing = {name: version(old, name) != version(new, name) for name in (*changed, *same)}
    assert differing == {**dict.fromkeys(changed, True), **dict.fromkeys(same, False)}


@pytest.mark.parametrize("edit", edits("edits.toml"))
def test_what_is_taken_over_from_the_codebase_before_changes_no_version(
    edit: dict[str, Any],
) -> None:
    before, after = before_and_after(edit)
    old, new = codebase(before), codebase(after)
    updated = old.updated(new.modules)
    for module, definitions in new.modules.items():
        for name in definitions.table:
            assert updated.version(module, name) == new.version(module, name)


@pytest.mark.parametrize("edit", edits("edits.toml"))
def test_every_changed_version_has_an_explanation(edit: dict[str, Any]) -> None:
    before, after = before_and_after(edit)
    old, new = codebase(before), codebase(after)
    for name in edit.get("changed", ["f"]):
        module, _, own = name.rpartition(":")
        parts = [code.parts(module or "m", own) for code in (old, new)]
        assert differences(*parts), name


def test_a_nested_name_has_the_version_of_its_top_level_owner() -> None:
    code = codebase("class C:\n    def g(self): return 1\n")
    assert version(code, "C.g") == version(code, "C")


def test_a_name_that_is_not_written_in_the_text_has_the_version_of_the_whole_module() -> None:
    old, new = codebase("X = 1\n"), codebase("X = 2\n")
    assert version(old, "made_somehow") != version(new, "made_somehow")


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("import numpy as np\ndef f(): return np.sin(1)\n", True),
        ("from numpy.linalg import norm\ndef f(): return norm(1)\n", True),
        ("def f():\n    import numpy\n    return numpy.sin(1)\n", True),
        ("import numpy as np\ndef f(): return 1\n", False),
    ],
)
def test_a_changed_package_counts_for_those_who_refer_to_it(text: str, changed: bool) -> None:
    old, new = codebase(text), codebase(text, {**OUTSIDE, "numpy": "2.0"})
    assert (version(old, "f") != version(new, "f")) is changed
    assert version(codebase(text).updated({}, new.outside), "f") == version(new, "f")


def test_a_changed_python_counts_for_everything() -> None:
    old, new = codebase("def f(): return 1\n"), codebase("def f(): return 1\n", {"": "3.12.0"})
    assert version(old, "f") != version(new, "f")


def test_a_library_that_becomes_a_project_module_counts() -> None:
    text = "try:\n    import zz\nexcept ImportError:\n    zz = None\ndef f(): return zz\n"
    old = codebase(text)
    assert version(old.updated({"zz": read("zz", "x = 1\n")}), "f") != version(old, "f")


def test_removing_a_module_and_bringing_it_back_gives_the_same_versions() -> None:
    first = codebase({"m": "import a\ndef f(): return a.x\n", "a": "x = 1\n"})
    without = first.updated({"a": None})
    assert version(without, "f") != version(first, "f")
    again = without.updated({"a": read("a", "x = 1\n")})
    assert version(again, "f") == version(first, "f")


def test_differences_name_what_changed_and_where() -> None:
    setup = "\nRATE = 1\n"
    main = "from setup import RATE\ndef helper(): return 1\ndef f(): return RATE + helper()\n"
    old = codebase({"m": main, "setup": setup})
    new = codebase({"m": main.replace("return 1", "return 2"), "setup": setup.replace("1", "2")})
    found = differences(old.parts("m", "f"), new.parts("m", "f"))
    assert [str(difference) for difference in found] == [
        "function helper in m.py:2 changed",
        "constant RATE in setup.py:2 changed",
    ]


def test_differences_tell_added_from_removed() -> None:
    old = codebase("def f(): return g()\ndef g(): return 1\n")
    new = codebase("def f(): return g()\ndef g(): return h()\ndef h(): return 1\n")
    added = differences(old.parts("m", "f"), new.parts("m", "f"))
    removed = differences(new.parts("m", "f"), old.parts("m", "f"))
    assert ("added", "h") in [(d.change, d.name) for d in added]
    assert ("removed", "h") in [(d.change, d.name) for d in removed]


def test_a_chain_of_five_thousand_functions_needs_no_recursion() -> None:
    text = "".join(f"def f{n}(): return f{n + 1}()\n" for n in range(5000))
    old = codebase(text + "def f5000(): return 1\n")
    new = codebase(text + "def f5000(): return 2\n")
    assert version(old, "f0") != version(new, "f0")


def test_a_circle_of_functions_has_versions() -> None:
    old = codebase("def f(): return g()\ndef g(): return f() or h()\ndef h(): return 1\n")
    new = codebase("def f(): return g()\ndef g(): return f() or h()\ndef h(): return 2\n")
    assert version(old, "f") != version(new, "f")
    assert version(old, "f") != version(old, "g")


def test_versions_do_not_depend_on_the_order_of_the_modules() -> None:
    texts = {"m": "import a\ndef f(): return a.x\n", "a": "import m\nx = 1\n"}
    assert version(codebase(texts), "f") == version(codebase(dict(reversed(texts.items()))), "f")


def test_only_what_changed_is_worked_out_again() -> None:
    code = codebase({"m": "import a\ndef f(): return a.x\n", "a": "x = 1\n", "b": "y = 1\n"})
    updated = code.updated({"a": read("a", "x = 2\n")})
    assert isinstance(updated, Codebase)
    assert updated._links["m"] is code._links["m"]
    assert updated._links["b"] is code._links["b"]
