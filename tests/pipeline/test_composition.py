"""A DAG that is composed from the one before is the DAG that Hamilton builds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from hamilton import graph
from hamilton.lifecycle.base import LifecycleAdapterSet

from hamdev.pipeline.composition import Composition

NO_ADAPTERS = LifecycleAdapterSet()

LOWER = """
def a() -> int:
    return 1

def b(a: int, given: float) -> int:
    return a
"""
UPPER = """
def c(a: int, b: int) -> int:
    return a + b

def d(c: int, b: int = 3) -> int:
    return c
"""


@pytest.fixture
def modules() -> Iterator[list[ModuleType]]:
    found = [ModuleType("composed_lower"), ModuleType("composed_upper")]
    for module, text in zip(found, (LOWER, UPPER), strict=True):
        sys.modules[module.__name__] = module
        execute(module, text)
    yield found
    for module in found:
        del sys.modules[module.__name__]


def execute(module: ModuleType, text: str) -> None:
    exec(text, vars(module))


def described(nodes: dict[str, Any]) -> dict[str, Any]:
    return {
        name: (
            node.type,
            dict(node.input_types),
            node.user_defined or node.originating_functions,
            node.node_role,
            node.tags,
            sorted(id(nodes[n.name]) == id(n) and n.name for n in node.dependencies),
            sorted(id(nodes[n.name]) == id(n) and n.name for n in node.depended_on_by),
        )
        for name, node in nodes.items()
    }


def require_as_hamilton(
    composition: Composition, modules: list[ModuleType], config: dict[str, Any] | None = None
) -> None:
    config = config or {}
    built = graph.create_function_graph(
        *modules, config=config, adapter=NO_ADAPTERS, allow_module_overrides=True
    )
    found = composition.nodes(modules, config, NO_ADAPTERS)
    assert described(found) == described(built)
    for name, node in found.items():
        if not node.user_defined:
            assert composition.producers[name].function in node.originating_functions


EDITS = {
    "another body": (0, "def a() -> int:\n    return 2\n"),
    "two of them": (1, "def c(a: int, b: int) -> int:\n    return 0\ndef d(c: int) -> int: ...\n"),
    "another order of inputs": (1, "def c(b: int, a: int) -> int:\n    return 0\n"),
    "another input": (1, "def d(a: int) -> int:\n    return 0\n"),
    "an input from outside": (1, "def d(c: int, other: str) -> int:\n    return 0\n"),
    "an input that may be left out": (1, "def d(c: int, b: int) -> int:\n    return 0\n"),
    "another default": (1, "def d(c: int, b: int = 4) -> int:\n    return c\n"),
    "a new node": (1, "def e(d: int) -> int:\n    return 0\n"),
    "a node that hides another": (1, "def b(a: int) -> int:\n    return 5\n"),
    "tags": (0, "from hamilton.function_modifiers import tag\n@tag(x='y')\ndef a() -> int: ...\n"),
    "several nodes": (
        0,
        "from hamilton.function_modifiers import parameterize, value\n"
        "@parameterize(x={'n': value(1)}, y={'n': value(2)})\ndef many(n: int) -> int: ...\n",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("config", [{}, {"given": 2.0}, {"a": 7}], ids=["", "given", "a"])
def test_after_an_edit(modules, edit, config):
    composition = Composition()
    require_as_hamilton(composition, modules, config)
    number, text = EDITS[edit]
    execute(modules[number], text)
    require_as_hamilton(composition, modules, config)
    execute(modules[number], text.replace("return ", "return 1 + "))
    require_as_hamilton(composition, modules, config)
    execute(modules[number], (LOWER, UPPER)[number])
    require_as_hamilton(composition, modules, config)


def test_the_shape_stays_if_only_code_changes(modules):
    composition = Composition()
    composition.nodes(modules, {}, NO_ADAPTERS)
    shape = composition.shape
    execute(modules[1], "def c(a: int, b: int) -> int:\n    return a - b\n")
    composition.nodes(modules, {}, NO_ADAPTERS)
    assert composition.shape is shape
    execute(modules[1], "def c(a: int) -> int:\n    return a\n")
    composition.nodes(modules, {}, NO_ADAPTERS)
    assert composition.shape is not shape


def test_after_a_dag_that_did_not_compose(modules):
    composition = Composition()
    require_as_hamilton(composition, modules)
    before = vars(modules[1])["c"]
    execute(modules[1], "def c(a: str, b: int) -> int:\n    return 0\n")
    with pytest.raises(ValueError, match="expecting a"):
        composition.nodes(modules, {}, NO_ADAPTERS)
    with pytest.raises(ValueError, match="expecting a"):
        composition.nodes(modules, {}, NO_ADAPTERS)
    vars(modules[1])["c"] = before
    require_as_hamilton(composition, modules)


def test_a_removed_and_a_renamed_function(modules):
    composition = Composition()
    require_as_hamilton(composition, modules)
    del vars(modules[1])["d"]
    require_as_hamilton(composition, modules)
    execute(modules[1], "def z(c: int) -> int:\n    return c\n")
    require_as_hamilton(composition, modules)
