"""Projects written as text: module name → what it says."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from hamdev.core.definitions import Definitions, ModuleText, read_definitions
from hamdev.core.versions import Codebase

OUTSIDE = {"": "3.11.7", "numpy": "1.26", "pandas": "2.2", "hamilton": "1.90"}


def read(name: str, text: str) -> Definitions:
    is_package = name.endswith(".__init__")
    name = name.removesuffix(".__init__")
    return read_definitions(
        ModuleText(name, name.replace(".", "/") + ".py", textwrap.dedent(text), is_package)
    )


def codebase(project: str | Mapping[str, str], outside: Mapping[str, str] = OUTSIDE) -> Codebase:
    """A codebase of these modules; a lone text is the module `m`."""
    texts = {"m": project} if isinstance(project, str) else project
    found = [read(name, text) for name, text in texts.items()]
    return Codebase({definitions.module: definitions for definitions in found}, outside)


def version(code: Codebase, name: str) -> str:
    """The version of `name` in module `m`, or of `module:name`."""
    module, _, rest = name.rpartition(":")
    return code.version(module or "m", rest)
