"""What two versions differ in, in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hamdev.core.references import Key


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that a version covers.

    Attributes:
        digest: of its own text alone.
        kind: `function`, `class`, `constant`, `import`, `statements`, `module`, `package`, …
        file: where it is; empty outside of the project.
        line: where it begins; 0 if it has no place.
    """

    digest: str
    kind: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One part in which two versions differ; its text is for people."""

    change: Literal["added", "removed", "changed"]
    kind: str
    module: str
    name: str
    file: str
    line: int

    def __str__(self) -> str:
        if self.kind == "file":
            return f"a file that was read while its module was loaded has changed: {self.file}"
        place = f" in {self.file}" + (f":{self.line}" if self.line else "") if self.file else ""
        return f"{self.kind} {self._shown_name()}{place} {self.change}"

    def _shown_name(self) -> str:
        match self.name:
            case "":
                return "version"
            case "*":
                return self.module or "of the project"
            case "<effects>":
                return "with effects at module level"
        return self.name


def differences(before: Mapping[Key, Part], after: Mapping[Key, Part]) -> list[Difference]:
    """What two versions differ in, from what each covers (`Codebase.parts`).

    A place is that in `after`; of what was removed, that in `before`. Definitions come first,
    then what only stands for others, such as a whole module.
    """
    found = []
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old is not None and new is not None and old.digest == new.digest:
            continue
        part = new or old
        assert part is not None  # the key is from one of them
        change: Literal["added", "removed", "changed"] = (
            "changed" if old and new else "added" if new else "removed"
        )
        found.append(Difference(change, part.kind, *key, part.file, part.line))
    return sorted(found, key=lambda d: (d.line == 0, d.file, d.line, d.name))
