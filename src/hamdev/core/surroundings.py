"""What the reading of a statement depends on beside the statement: what its module binds."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from hamdev.core.vocabulary import PURE_BUILTINS

_EVALUATORS = frozenset({"duckdb", "polars", "pandasql"})
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A module, as far as its statements are read differently elsewhere.

    Attributes:
        package: from which relative imports are counted.
        imported: names that its top-level imports bind → the dotted names they stand for.
        shadowed: builtins that only give a value, and that the module binds otherwise.
        evaluates_text: it imports something that looks up variables named in a text.
    """

    package: str
    imported: Mapping[str, Set[str]]
    shadowed: frozenset[str]
    evaluates_text: bool

    @classmethod
    def of(cls, package: str, imported: Mapping[str, Set[str]], defined: Set[str]) -> Surroundings:
        """Those in a package, from the names that imports bind, and that others do."""
        tops = {name.partition(".")[0] for names in imported.values() for name in names}
        return cls(package, imported, PURE_BUILTINS & defined, not tops.isdisjoint(_EVALUATORS))

    def origins(self, name: str) -> Set[str]:
        """The dotted names that a name stands for; none if no import of the module binds it."""
        return self.imported.get(name, _NONE)

    def differing(self, other: Surroundings) -> set[str] | None:
        """The names whose origins differ; None if anything else does."""
        if (self.package, self.shadowed, self.evaluates_text) != (
            other.package,
            other.shadowed,
            other.evaluates_text,
        ):
            return None
        names = self.imported.keys() | other.imported.keys()
        return {name for name in names if self.origins(name) != other.origins(name)}
