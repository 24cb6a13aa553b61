"""Versions of a codebase that takes over what an edit left alone are those of a new one."""

from __future__ import annotations

from random import Random

from code_projects import OUTSIDE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_projects import MODULES, random_statement

from hamdev.core.definitions import EFFECTS, WHOLE, Definitions, ModuleText, read_definitions
from hamdev.core.parsing import Parsed, parse
from hamdev.core.versions import Codebase

Read = dict[str, tuple[Parsed, Definitions]]


def _read(texts: dict[str, str], before: Read) -> Read:
    read: Read = {}
    for name, text in texts.items():
        if name in before and before[name][0].text == text:
            read[name] = before[name]
            continue
        module = ModuleText(name, f"{name}.py", text)
        parsed, known = before.get(name, (None, None))
        now = parse(text, parsed)
        read[name] = now, read_definitions(module, now, known)
    return read


def _codebase(read: Read) -> Codebase:
    return Codebase({name: definitions for name, (_, definitions) in read.items()}, OUTSIDE)


def _described(code: Codebase) -> dict[tuple[str, str], object]:
    for module, found in code.modules.items():
        names_of = [*found.table, *([EFFECTS] if found.effects is not None else [])]
        assert code.versions(module) == {name: code.version(module, name) for name in names_of}
    names = {
        (module, name)
        for module, found in code.modules.items()
        for name in (*found.table, EFFECTS, WHOLE, "unwritten")
    }
    return {
        # Names that are gone may still be among the dependents, and harm nobody.
        key: (code.version(*key), code.parts(*key), code.dependents([code.key(*key)]) & names)
        for key in names
    }


def _edited(statements: list[str], random: Random) -> list[str]:
    at = random.randrange(len(statements) + 1)
    new = [random_statement(random) for _ in range(random.randrange(3))]
    return [*statements[:at], *new, *statements[at + random.randrange(2) :]]


def _texts(project: dict[str, list[str]]) -> dict[str, str]:
    return {name: "\n".join(statements) + "\n" for name, statements in project.items()}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), size=st.integers(1, 10))
def test_they_are_the_same_after_any_edits(seed: int, size: int) -> None:
    random = Random(seed)
    project = {name: [random_statement(random) for _ in range(size)] for name in MODULES}
    read: Read = {}
    code: Codebase | None = None
    for _ in range(6):
        try:
            now = _read(_texts(project), read)
        except SyntaxError:
            continue
        finally:
            if random.random() < 0.1:
                name = random.choice(MODULES)
                project = {n: s for n, s in project.items() if n != name} or {name: ["x = 1"]}
            else:
                name = random.choice(MODULES)
                project = {**project, name: _edited(project.get(name, []), random)}
        if code is None:
            code = _codebase(now)
        else:
            changed: dict[str, Definitions | None] = dict.fromkeys(read.keys() - now.keys())
            changed |= {n: d for n, (_, d) in now.items() if n not in read or read[n][1] is not d}
            code.updated({**changed, "zq_a": None})  # worked out ahead, and not wanted after all
            code = code.updated(changed)
        read = now
        assert _described(code) == _described(_codebase(_read(_texts_of(now), {})))


def _texts_of(read: Read) -> dict[str, str]:
    return {name: parsed.text for name, (parsed, _) in read.items()}
