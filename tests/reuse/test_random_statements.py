"""Modules of random statements are, after any edits, what a new process makes of them.

Where the other random test has projects that look like a person's, this one has anything that
Python allows at module level: `del`, `+=`, loops, `globals()[…] = …`, assignments to other modules.
What is compared is what the modules hold, down to the code of their functions.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_projects import MODULES, Project, edited, random_project, texts
from warm import Warm
from worker_process import worker_process

_EXAMPLES = int(os.environ.get("HAMDEV_EXAMPLES", "0"))
_EDITS = 6
_NAMES = ("p", "q", "r", "s", "t", "abs", "len", "_u")
_SHOWN = """
import dis
import re
from types import FunctionType, ModuleType

def shown(get):
    try:
        return _shown(get(), 4)
    except Exception as error:
        return type(error).__name__

# What the compiler makes of `a.f()` depends on whether an import of `a` is compiled together with it.
_SAME = {"LOAD_METHOD": "LOAD_ATTR"}
_NOTHING = {"PUSH_NULL", "PRECALL", "CACHE"}

def _code(code):
    found = [i for i in dis.get_instructions(code) if i.opname not in _NOTHING]
    at = {i.offset: number for number, i in enumerate(found)}
    steps = [(_SAME.get(i.opname, i.opname), _argument(i, at)) for i in found]
    constants = [_code(c) if hasattr(c, "co_code") else repr(c) for c in code.co_consts]
    return [steps, constants, code.co_names]

def _argument(i, at):
    if i.argrepr.startswith("to "):
        # What is jumped to may be one of those left out.
        return min((n for offset, n in at.items() if offset >= i.argval), default=None)
    return _code(i.argval) if hasattr(i.argval, "co_code") else repr(i.argval)

def _shown(value, depth):
    own = type(value).__module__.startswith("zq_")
    if depth == 0:
        return "…"
    if isinstance(value, ModuleType):
        return f"module {value.__name__}"
    if isinstance(value, type) and value.__module__.startswith("zq_"):
        held = {k: v for k, v in vars(value).items() if not k.startswith("__")}
        return f"class {value.__name__} {_shown(held, depth - 1)}"
    if isinstance(value, FunctionType) and value.__module__.startswith("zq_"):
        cells = [_shown(cell.cell_contents, depth - 1) for cell in value.__closure__ or ()]
        defaults = _shown(value.__defaults__, depth - 1)
        return f"function {value.__name__} {_code(value.__code__)} {defaults} {cells}"
    if isinstance(value, dict):
        return str({k: _shown(v, depth - 1) for k, v in value.items()})
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}{[_shown(v, depth - 1) for v in value]}"
    if own:
        return f"{type(value).__name__} {_shown(vars(value), depth - 1)}"
    if isinstance(value, (int, str, float, type(None))):
        return re.sub(r"0x[0-9a-f]{6,}", "0x", repr(value))
    return f"{type(value).__name__} {getattr(value, '__qualname__', '')}"
"""
_MAIN = f"import {', '.join(MODULES)}\nfrom shown import shown\n" + "".join(
    f"def {module}__{name}() -> str:\n    return shown(lambda: {module}.{name})\n"
    for module in MODULES
    for name in _NAMES
)


@settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
    max_examples=_EXAMPLES or 12,
    derandomize=not _EXAMPLES,
    database=None,
)
@given(seed=st.integers(0, 2**32))
@pytest.mark.timeout(0)
def test_patched_modules_hold_what_new_ones_hold(seed: int, warm: Warm) -> None:
    random = Random(seed)
    project = random_project(random, 6)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        (root / "pipelines").mkdir()
        (root / "shown.py").write_text(_SHOWN)
        (root / "pipelines" / "main.py").write_text(_MAIN)
        _write(root, project)
        with worker_process(warm, root, root / ".hamdev" / "kept") as worker:
            worker.check(worker.run())
            for _ in range(_EDITS):
                before, project = project, edited(project, random)
                _write(root, project)
                try:
                    worker.check(worker.run())
                except BaseException as error:
                    error.add_note(f"seed {seed}\nbefore: {texts(before)}\nafter: {texts(project)}")
                    raise


def _write(root: Path, project: Project) -> None:
    for module, text in texts(project).items():
        file = root / f"{module}.py"
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
