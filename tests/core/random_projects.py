"""Random small projects, edits of them, and what their functions really return."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from types import ModuleType

from executed_code import loaded

MODULES = ("zq_a", "zq_b", "zq_c")
_NAMES = ("p", "q", "r", "s", "t", "abs", "len", "_u")
_TEMPLATES = (
    "{n} = {i}",
    "{n} = {e}",
    "{n} = [{i}]",
    "{n} = {{'k': [{i}], 'l': {e}}}",
    "{n}, {o} = {e}, {i}",
    "{n} += [{i}]",
    "{n} += {i}",
    "{n}.append({e})",
    "{n}['k'] = {e}",
    "{n}['k'].append({i})",
    "del {n}",
    "{n} = {o}",
    "{n} = {o}()",
    "{n} = {o}({e})",
    "{n} = {o}.pop()",
    "{n} = list({o})",
    "{n} = {o}['k']",
    "{n} = lambda x=0: {e}",
    "{n} = [{o} for {o} in ({e}, {i})]",
    "{n} = [x for x in {o} if x != {i}]",
    "{n} = next({o})",
    "{n} = iter([{i}, {e}, 3])",
    "{o}({e})",
    "def {n}(x=0): return {e}",
    "def {n}(x=0): return {e}",
    "def {n}(x={e}): return x, {e}",
    "def {n}(x=[]):\n    x.append({i})\n    return x",
    "def {n}(x=0):\n    {o} = {e}\n    return {o}",
    "def {n}(x=0):\n    {o}.append({i})\n    return {e}",
    "def {n}(x=0):\n    y = {o}\n    y.append({i})\n    return y",
    "def {n}(x=0):\n    x.append({i})\n    return x",
    "def {n}(x=0):\n    global {o}\n    {o} = {e}\n    return {e}",
    "def {n}(x=0):\n    def inner(y=x): return {e}\n    return inner()",
    "def {n}(x=0):\n    c = [{i}]\n    def inner(y=0):\n        c.append(y)\n        return c\n"
    "    return inner",
    "def {n}(x=0):\n    import {m}\n    return {m}.{o}",
    "def {n}(x=0):\n    from {m} import {o} as y\n    return y",
    "def {n}(x=0):\n    try: return {o}\n    except NameError: return {i}",
    "def {n}(x=0): return getattr({m}, '{o}', {i})",
    "def {n}(x=0): return globals().get('{o}', {i})",
    "def {n}(x=0):\n    yield {e}\n    yield {i}",
    "def {n}(x=0):\n    '''doc {i}'''\n    return {o}.__doc__",
    "def {n}(x=0):\n    {m}.{o} = {i}\n    return {e}",
    "@{o}\ndef {n}(x=0): return {e}",
    "def {n}(fn):\n    {o}.append(fn)\n    return fn",
    "def {n}(fn): return lambda x=0: (fn, {e})",
    "class {n}:\n    v = {e}\n    l = [{i}]\n    def get(self): return {e}",
    "class {n}:\n    v = {e}\n    def __init__(self, x={i}): self.x = x\n"
    "    def set(self, x): self.x = x",
    "class {n}({o}):\n    w = {e}",
    "class {n}:\n    l = []\n    def __init__(self, x={i}): self.l.append(x)",
    "{n}.v = {e}",
    "{n}.set({e})",
    "{o}.l.append({i})",
    "{n} = {o}().get()",
    "{n} = {o}.v",
    "setattr({o}, 'v', {e})",
    "import {m}",
    "import {m} as {n}",
    "from {m} import {n}",
    "from {m} import {o} as {n}",
    "from {m} import *",
    "{m}.{n} = {e}",
    "{n} = {m}",
    "__all__ = ['{n}', '{o}']",
    "if {e}:\n    {n} = {i}\nelse:\n    {n} = {e}",
    "if {e}: {n} = {e}",
    "for {n} in ({e}, {i}): {o} = {n}",
    "for {n} in {o}: {n}.append({i})",
    "try:\n    {n} = {e}\nexcept Exception:\n    {n} = {i}",
    "try: from {m} import {n}\nexcept ImportError: {n} = {i}",
    "globals()['{n}'] = {e}",
    "while True:\n    {n} = {e}\n    break",
    "with open('/dev/null') as {n}: {o} = {e}",
)
_EXPRESSIONS = (
    "{i}", "{i}", "{n}", "{n}", "{n}", "{n}()", "{n}(1)", "[{n}, {i}]", "({n}, {o})", "{m}.{n}",
    "{m}.{n}()", "x" , "{n}.v", "{n}().v", "[{n} for {n} in (1, {i})]", "(lambda x: {n})(0)",
    "{n} if {o} else {i}", "abs(-{i})", "len([{n}])", "f'{{{n}}}'", "{n}['k']", "{n}.l",
    "(lambda: {n})()", "{{'k': {n}}}", "str({n})",
)  # fmt: skip

Project = dict[str, list[str]]


def random_expression(random: Random) -> str:
    names = {key: random.choice(_NAMES) for key in "no"}
    return random.choice(_EXPRESSIONS).format(
        i=random.randint(0, 3), m=random.choice(MODULES), **names
    )


def random_statement(random: Random) -> str:
    names = {key: random.choice(_NAMES) for key in "no"}
    template = random.choice(_TEMPLATES)
    return template.format(
        i=random.randint(0, 3), m=random.choice(MODULES), e=random_expression(random), **names
    )


def random_project(random: Random, size: int) -> Project:
    project = {
        name: [random_statement(random) for _ in range(random.randint(1, size))] for name in MODULES
    }
    for name, statements in project.items():
        others = [other for other in MODULES if other > name]
        statements[:0] = [f"import {other}" for other in others if random.random() < 0.6]
    return repaired(project)


def edited(project: Project, random: Random) -> Project:
    """The project after one random edit; statements that no longer work are left out."""
    result = {name: list(statements) for name, statements in project.items()}
    statements = result[random.choice(MODULES)]
    at = random.randrange(len(statements) + 1)
    match random.randrange(5):
        case 0:
            statements.insert(at, random_statement(random))
        case 1 if statements:
            statements[at - 1] = random_statement(random)
        case 2 if len(statements) > 1:
            del statements[at - 1]
        case 3 if len(statements) > 1:
            statements[at - 1], statements[at - 2] = statements[at - 2], statements[at - 1]
        case _ if statements:
            text = statements[at - 1]
            digits = [n for n, letter in enumerate(text) if letter.isdigit()]
            if digits:
                n = random.choice(digits)
                statements[at - 1] = f"{text[:n]}{(int(text[n]) + 1) % 4}{text[n + 1 :]}"
    return repaired(result)


def texts(project: Project) -> dict[str, str]:
    return {name: "\n".join(statements) + "\n" for name, statements in project.items()}


@contextmanager
def _shallow() -> Iterator[None]:
    """Endless recursion, of which random functions have plenty, ends sooner."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(min(limit, 400))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def repaired(project: Project) -> Project:
    """The project without the statements that raise when it is loaded."""
    project = {name: list(statements) for name, statements in project.items()}
    while True:
        sources = texts(project)
        try:
            for name, text in sources.items():
                compile(text, f"<{name}>", "exec")
            with _shallow(), loaded(sources):
                return project
        except Exception as error:
            if isinstance(error, SyntaxError) and error.lineno is not None:
                name, line = str(error.filename).strip("<>"), error.lineno
            else:
                name, line = _place(error)
            statements = project[name]
            count = 0
            for number, statement in enumerate(statements):
                count += statement.count("\n") + 1
                if count >= line:
                    del statements[number]
                    break


def _place(error: Exception) -> tuple[str, int]:
    """The innermost module-level line that the error went through."""
    found = None
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_name == "<module>" and code.co_filename.startswith("<zq_"):
            found = code.co_filename.strip("<>"), traceback.tb_lineno
        traceback = traceback.tb_next
    if found is None:
        raise error
    return found


def values(project: Project) -> dict[tuple[str, str], str]:
    """(module, name) → what a call of that function gives in a process that did nothing else."""
    sources = texts(project)
    with _shallow(), loaded(sources) as modules:
        callables = [
            (module, name)
            for module, found in modules.items()
            for name, value in vars(found).items()
            if not name.startswith("__") and callable(value)
        ]
    result = {}
    for module, name in callables:
        with _shallow(), loaded(sources) as modules:
            result[module, name] = _outcome(vars(modules[module])[name])
    return result


def _outcome(function: object) -> str:
    try:
        if isinstance(function, type):
            return _shown(function, 4)
        return _shown(function(), 4)  # type: ignore[operator]  # callable, as was looked up
    except RecursionError:
        return "RecursionError"
    except Exception as error:
        return type(error).__name__


def _shown(value: object, depth: int) -> str:
    """A text that is equal for equal values, whatever process they are from."""
    if depth == 0:
        return "…"
    match value:
        case ModuleType():
            return f"module {value.__name__}"
        case type() if value.__module__ in MODULES:
            shown = {k: v for k, v in vars(value).items() if not k.startswith("__")}
            return f"class {value.__name__} {_shown(shown, depth - 1)}"
        case dict():
            return str({k: _shown(v, depth - 1) for k, v in value.items()})
        case list() | tuple():
            return f"{type(value).__name__}{[_shown(v, depth - 1) for v in value]}"
        case int() | str() | float() | None:
            return re.sub(r"0x[0-9a-f]{6,}", "0x", repr(value))
    name = getattr(value, "__qualname__", "")
    if type(value).__module__ in MODULES:
        return f"{type(value).__name__} {_shown(vars(value), depth - 1)}"
    if hasattr(value, "__next__"):
        return f"{type(value).__name__} {name}"
    return f"{type(value).__name__} {name}"
