"""Nothing is ever unpickled in the daemon, and in clients only a value that somebody asks for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hamdev

SOURCE = Path(hamdev.__file__).parent
# What makes objects, or runs code, of bytes that may be anybody's.
LIBRARIES = {
    "pickle",
    "_pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "jsonpickle",
}
HARMLESS = {"dumps", "PickleError", "PicklingError"}
CODE = {"eval", "exec", "compile", "__import__"}
# The worker runs user code anyway, and the library is part of it.
TRUSTING = ("worker", "pipeline")
# `result` of the Python clients, from a daemon of the same user.
ALLOWED = {
    "clients/values.py": ["pickle.loads"],
    "core/wholeness.py": ["compile"],  # to see whether it can be; it is never executed
}


def dangers(text: str) -> Iterator[str]:
    """What in a module's text could make an object of a pickle, or run code."""
    tree = ast.parse(text)
    names = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    if alias.name.partition(".")[0] in LIBRARIES:
                        names[alias.asname or alias.name] = alias.name
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in LIBRARIES:
                yield from (f"{module}.{a.name}" for a in node.names if a.name not in HARMLESS)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in names:
                if attribute not in HARMLESS:
                    yield f"{names[name]}.{attribute}"
            case ast.Call(func=ast.Name(id=name)) if name in CODE:
                yield name
            case ast.Call(func=ast.Name(id="getattr"), args=[ast.Name(id=name), *_]):
                if name in names:
                    yield f"{names[name]}.*"


def modules() -> list[str]:
    files = (file.relative_to(SOURCE) for file in SOURCE.rglob("*.py"))
    return sorted(str(file) for file in files if file.parts[0] not in TRUSTING)


@pytest.mark.parametrize("module", modules())
def test_only_a_value_that_was_asked_for_is_unpickled(module: str) -> None:
    found = list(dangers((SOURCE / module).read_text(encoding="utf-8")))
    assert found == ALLOWED.get(module, [])


@pytest.mark.parametrize(
    "text",
    [
        "import pickle\npickle.loads(b'')",
        "import pickle as p\np.load(f)",
        "def f():\n    import cloudpickle\n    return cloudpickle.loads",
        "from pickle import loads",
        "from pickle import Unpickler as U",
        "import pickle\npickle.Unpickler(f).load()",
        "import marshal\nmarshal.loads(b'')",
        "import pickle\ngetattr(pickle, 'lo' + 'ads')",
        "eval('1')",
    ],
)
def test_what_unpickles_is_found(text: str) -> None:
    assert list(dangers(text))


def test_the_daemon_is_among_the_modules() -> None:
    assert {"daemon/engine.py", "daemon/connection.py", "wire.py"} <= set(modules())
