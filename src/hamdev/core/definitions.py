"""A module's text → its definitions, and what each of them refers to. Nothing is imported.

A definition is everything that the text says about one top-level name: all statements that bind
it, delete it or change it in place. A statement that may have effects beyond the names of its
module is part of the module's `effects` as well.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

from hamdev.core.parsing import Parsed, parse
from hamdev.core.readings import Readings, read_statements
from hamdev.core.uses import TEXT, Statement, Target, Use
from hamdev.core.vocabulary import BUILTINS

EFFECTS = "<effects>"
WHOLE = "*"


@dataclass(frozen=True, slots=True)
class ModuleText:
    """What a module is loaded from.

    Attributes:
        name: absolute name.
        file: where it is, for people.
        text: decoded.
        is_package: whether it is a package's `__init__`.
    """

    name: str
    file: str
    text: str
    is_package: bool = False


@dataclass(frozen=True, slots=True)
class Definition:
    """All that a module's text says about one of its names.

    Attributes:
        name: the top-level name.
        kind: `function`, `class`, `import`, `constant` or `statements`, for people.
        line: of its first statement.
        positions: numbers of its statements in the module.
        digest: of its statements, and of their order where that matters.
        docs: of their docstrings.
        uses: global names that they refer to.
        imports: what imports bind the name to.
        is_value: it is not bound by `def`, `class` or `import` alone.
        eager, late_effect, reads, sensitivity, foreign_readers, changes_arguments,
            sets_attributes, caches, fresh, immutable, stateful: as those of a `Statement`.
    """

    name: str
    kind: str
    line: int
    positions: tuple[int, ...]
    digest: bytes
    docs: bytes
    uses: frozenset[Use]
    imports: frozenset[Target]
    is_value: bool
    eager: bool
    late_effect: int
    reads: int
    sensitivity: int
    foreign_readers: frozenset[str]
    changes_arguments: bool
    sets_attributes: bool
    caches: bool
    fresh: bool
    immutable: bool
    stateful: bool


@dataclass(frozen=True)
class Definitions:
    """A module's definitions.

    Attributes:
        module: absolute name.
        file: where it is, for people.
        is_package: whether it is a package's `__init__`.
        table: name → definition.
        effects: the statements with effects, taken together; None if there are none.
        stars: modules that it star-imports, in order.
        exports: the names in a literal `__all__`; None if there is no `__all__`.
        exports_unknown: there is an `__all__` that is not a literal.
        dynamic: it may define names that are not written in it.
        loads: modules that it imports, each with the number of the statement that does.
        late_loads: those of them that only calls of functions import.
        unsure_loads: those of them that are imported or not, as something else decides.
        digest: of all statements, in order.
        docs: of all docstrings.
        text_digest: of the exact text.
        uses: of all statements.
        imports: of all names.
        readings: what they were made from; None if the text could not be parsed.
    """

    module: str
    file: str
    is_package: bool
    table: Mapping[str, Definition]
    effects: Definition | None
    stars: tuple[str, ...]
    exports: frozenset[str] | None
    exports_unknown: bool
    dynamic: bool
    loads: tuple[tuple[int, str], ...]
    late_loads: frozenset[tuple[int, str]]
    unsure_loads: frozenset[tuple[int, str]]
    digest: bytes
    docs: bytes
    text_digest: bytes
    uses: frozenset[Use]
    imports: frozenset[Target]
    readings: Readings | None = field(default=None, repr=False, compare=False)

    @cached_property
    def late_effects(self) -> tuple[str, ...]:
        """Names of the definitions with a late effect."""
        return tuple(name for name, found in self.table.items() if found.late_effect)

    @cached_property
    def caching(self) -> tuple[str, ...]:
        """Names of the definitions that keep what functions returned."""
        return tuple(name for name, found in self.table.items() if found.caches)

    @cached_property
    def sensitive(self) -> tuple[str, ...]:
        """Names of the definitions that depend on docstrings or the text itself."""
        own = (EFFECTS,) if self.effects is not None and self.effects.sensitivity else ()
        return own + tuple(name for name, found in self.table.items() if found.sensitivity)

    @cached_property
    def shape(self) -> tuple[object, ...]:
        """What the references of other modules are resolved by."""
        names = {
            name: (found.imports, found.kind, found.is_value, found.immutable)
            for name, found in self.table.items()
        }
        return names, self.stars, self.exports, self.exports_unknown, self.dynamic


def read_definitions(
    module: ModuleText, parsed: Parsed | None = None, before: Definitions | None = None
) -> Definitions:
    """The definitions in the text of `module`.

    What is unchanged is taken from `before`, and the result is the same without it.

    Args:
        module: the text.
        parsed: its statements, if they are known.
        before: the definitions of the text that `parsed` was told from by what differs.

    Raises:
        SyntaxError: the text does not parse.
    """
    text_digest = _hash(module.text.encode("utf-8", "surrogatepass"))
    try:
        parsed = parsed or parse(module.text)
    except (RecursionError, MemoryError):
        return _opaque(module, text_digest)
    package = module.name if module.is_package else module.name.rpartition(".")[0]
    readings = read_statements(parsed, package, before.readings if before is not None else None)
    statements, future = readings.statements, readings.future
    table = _Table(readings, before).definitions()
    exports, exports_unknown = readings.exports()
    first = [placed.node for placed in parsed.statements[:1]]
    docstring = ast.get_docstring(ast.Module(first, []), clean=False) or ""
    return Definitions(
        module=module.name,
        file=module.file,
        is_package=module.is_package,
        table=table,
        effects=_effects(readings),
        stars=tuple(name for statement in statements for name in statement.star),
        exports=exports,
        exports_unknown=exports_unknown,
        dynamic=any(statement.dynamic for statement in statements),
        loads=tuple((at, name) for at, s in enumerate(statements) for name in sorted(s.loads)),
        late_loads=frozenset((at, n) for at, s in enumerate(statements) for n in s.late_loads),
        unsure_loads=frozenset(
            (at, name)
            for at, s in enumerate(statements)
            if not s.imports_surely
            for name in s.loads - s.late_loads
        ),
        digest=_hash(future, *(s.digest for s in statements)),
        docs=_hash(docstring.encode("utf-8", "surrogatepass"), *(s.docs for s in statements)),
        text_digest=text_digest,
        uses=frozenset().union(*(s.uses for s in statements)),
        imports=frozenset(t for d in table.values() for t in d.imports),
        readings=readings,
    )


def _opaque(module: ModuleText, text_digest: bytes) -> Definitions:
    """A module that is nested too deeply to be parsed: it may define and refer to anything."""
    effects = Definition(
        EFFECTS, "statements", 1, (0,), text_digest, b"", frozenset(), frozenset(),
        is_value=True, eager=True, late_effect=0, reads=2, sensitivity=TEXT,
        foreign_readers=frozenset(), changes_arguments=True, sets_attributes=True, caches=True,
        fresh=False, immutable=False, stateful=True,
    )  # fmt: skip
    return Definitions(
        module.name, module.file, module.is_package, {}, effects, (), None, True, True, (),
        frozenset(), frozenset(), text_digest, b"", text_digest, frozenset(), frozenset(),
    )  # fmt: skip


# -- statements → definitions --------------------------------------------------------------------

_LABELS = {
    "FunctionDef": "function",
    "AsyncFunctionDef": "function",
    "ClassDef": "class",
    "Import": "import",
    "ImportFrom": "import",
    "Assign": "constant",
    "AnnAssign": "constant",
    "AugAssign": "constant",
}


class _Table:
    """Sorts the statements of one module under the names that they are about."""

    def __init__(self, readings: Readings, before: Definitions | None) -> None:
        self._statements = statements = readings.statements
        self._lines = readings.lines
        self._future = readings.future
        self._effects = readings.effects
        self._before = before
        self._owned: dict[str, list[int]] = {}
        self._events: dict[str, list[int]] = {}
        bound = {name for statement in statements for name in statement.binds}
        for number, statement in enumerate(statements):
            for name in sorted(statement.binds | (statement.alters & bound)):
                self._events.setdefault(name, []).append(number)
                if name in statement.binds or not statement.binds:
                    self._owned.setdefault(name, []).append(number)

    def definitions(self) -> dict[str, Definition]:
        order = self._order_tokens()
        stars = [n for n, statement in enumerate(self._statements) if statement.star]
        immutable = self._immutable()
        table = {}
        for name, found in self._owned.items():
            numbers = self._without_repeats(found)
            tokens = [order.get(n, b"") for n in numbers]
            # A name that a star import may bind as well means what came last.
            tokens += [str(sum(star < n for star in stars)).encode() for n in numbers if stars]
            extra = _hash(self._future, *tokens)
            table[name] = self._definition(name, numbers, extra, name in immutable)
        return table

    def _without_repeats(self, numbers: list[int]) -> list[int]:
        """The statements without imports that find what the same import has just found.

        Anything that is executed between them may have changed what there is to import.
        """
        if len(numbers) == 1:
            return numbers
        kept = numbers[:1]
        for last, number in pairwise(numbers):
            statement = self._statements[number]
            is_repeated = (
                statement.label in ("Import", "ImportFrom")
                and statement.digest == self._statements[last].digest
                and not any(s.eager for s in self._statements[last + 1 : number])
            )
            if not is_repeated:
                kept.append(number)
        return kept

    def _definition(
        self, name: str, numbers: Sequence[int], extra: bytes, is_immutable: bool
    ) -> Definition:
        own = [self._statements[n] for n in numbers]
        digest = _digest(extra, own)
        known = self._known(name, own)
        if known is None or known.digest != digest:
            known = _combine(name, own, digest)
        line, positions = self._lines[numbers[0]], tuple(numbers)
        if (known.line, known.positions, known.immutable) == (line, positions, is_immutable):
            return known
        return replace(known, line=line, positions=positions, immutable=is_immutable)

    def _known(self, name: str, own: Sequence[Statement]) -> Definition | None:
        """The definition before, if it was made from the same statements."""
        if self._before is None or self._before.readings is None:
            return None
        known = self._before.table.get(name)
        if known is None or len(known.positions) != len(own):
            return None
        statements = self._before.readings.statements
        is_same = all(statements[n] is s for n, s in zip(known.positions, own, strict=True))
        return known if is_same else None

    def _immutable(self) -> set[str]:
        """Names whose values cannot be changed in place, nor what those are made from."""
        needs = {
            name: frozenset().union(*(self._statements[n].immutable_if for n in numbers))
            for name, numbers in self._owned.items()
            if all(self._statements[n].immutable for n in numbers)
        }
        # A function may bind it to something else.
        mutable = needs.keys() & {name for s in self._statements for name in s.rebinds}
        while True:
            new = {
                name
                for name, needed in needs.items()
                if name not in mutable and (needed & mutable or not needed <= needs.keys())
            }
            if not new:
                return needs.keys() - mutable
            mutable |= new

    def _order_tokens(self) -> dict[int, bytes]:
        """Statement → where it stands among those that change what it may see as it is executed."""
        unstable = {
            name: numbers
            for name, numbers in self._events.items()
            if len(numbers) > 1 and not self._same_import(name, numbers)
        }
        effects = self._effects
        stars = any(statement.star for statement in self._statements)
        handles = any(statement.handles for statement in self._statements)
        # Used before it is bound, a name means the builtin, what a star import brought, or an
        # exception that somebody handles.
        late = self._events.keys() if stars or handles else self._events.keys() & BUILTINS
        if not unstable and not effects and not late:
            return {}
        tokens: dict[int, bytes] = {}
        for number, statement in enumerate(self._statements):
            if not statement.eager or not statement.uses or statement.label.startswith("Import"):
                continue
            reached = self._reached(statement)
            seen = sorted(reached & unstable.keys())
            early = sorted(n for n in reached & late if self._events[n][0] > number)
            counts = [f"{name}:{sum(n < number for n in unstable[name])}" for name in seen]
            before = sum(n < number for n in effects)
            tokens[number] = f"{counts}{early}{before}".encode()
        return tokens

    def _same_import(self, name: str, numbers: list[int]) -> bool:
        kinds = {self._statements[n].imports.get(name) for n in numbers}
        return len(kinds) == 1 and None not in kinds

    def _reached(self, statement: Statement) -> set[str]:
        reached: set[str] = set()
        todo = [statement]
        while todo:
            for use in todo.pop().uses:
                name = use.path[0] if use.path and not use.module else ""
                if name and name not in reached:
                    reached.add(name)
                    todo += [self._statements[n] for n in self._owned.get(name, ())]
        return reached


def _digest(extra: bytes, own: Sequence[Statement]) -> bytes:
    return _hash(extra, *(s.digest for s in own))


def _combine(name: str, own: Sequence[Statement], digest: bytes) -> Definition:
    """A definition made of statements, but for where those stand."""
    labels = {_LABELS.get(statement.label, "statements") for statement in own}
    return Definition(
        name=name,
        kind=labels.pop() if len(labels) == 1 else "statements",
        line=0,
        positions=(),
        digest=digest,
        docs=_hash(*(s.docs for s in own)) if any(s.docs for s in own) else b"",
        uses=own[0].uses.union(*(s.uses for s in own[1:])),
        imports=frozenset(t for s in own for t in s.imports.get(name, ())),
        is_value=not {s.label for s in own}
        <= {"FunctionDef", "AsyncFunctionDef", "ClassDef", "Import", "ImportFrom"},
        eager=any(s.eager for s in own),
        late_effect=max(s.late_effect for s in own),
        reads=max(s.reads for s in own),
        sensitivity=max(s.sensitivity for s in own),
        foreign_readers=own[0].foreign_readers.union(*(s.foreign_readers for s in own[1:])),
        changes_arguments=any(s.changes_arguments for s in own),
        sets_attributes=any(s.sets_attributes for s in own),
        caches=any(s.caches for s in own),
        fresh=all(s.fresh or not s.binds for s in own),
        immutable=all(s.immutable for s in own),
        stateful=any(s.stateful for s in own),
    )


def _effects(readings: Readings) -> Definition | None:
    """The statements with effects, as one definition."""
    found = {n: readings.statements[n] for n in readings.effects}
    if not found:
        return None
    own = list(found.values())
    effects = _combine(EFFECTS, own, _digest(b"", own))
    return replace(effects, positions=tuple(found), line=readings.lines[next(iter(found))])


def _hash(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(4, "little"))
        digest.update(part)
    return digest.digest()
