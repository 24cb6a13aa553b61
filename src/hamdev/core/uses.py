"""What a statement leaves behind: the global names that it refers to, and what it does to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

Path = tuple[str, ...]

# The last word of a path that stands for what a call returns.
CALLED = "()"

# What is done with the object that a `Use` names.
LOAD = "load"
CHANGE = "change"  # certainly changed in place
CALL = "call"  # it or a method of it is called, which may change it
GET = "get"  # something is looked up in it, which may change what has a default
STORE = "store"  # an attribute of it is set or deleted
PASS = "pass"  # handed to a call, which may change it
AUGMENT = "augment"  # changed in place if it is mutable: `x += y`
HOLD = "hold"  # kept in an attribute of `self`
RETURN = "return"  # returned by a function, or a part of it is
DECORATE = "decorate"  # handed to a decorator, which may change it or keep the function in it

DOCS = 1  # what a statement means depends on docstrings
TEXT = 2  # … on the text itself, down to line numbers


class Use(NamedTuple):
    """A name that the interpreter looks up in a module's globals, and what is done with it.

    Attributes:
        module: where the name is looked up; empty for the module that the statement is in.
        path: the name and the attributes taken from it: `setup.RATE.real`.
        how: what is done with the object.
        lazy: it happens when a function is called, not when the module is executed.
    """

    module: str
    path: Path
    how: str
    lazy: bool


class Target(NamedTuple):
    """What an import binds: a module, or the attribute `path` of it."""

    module: str
    path: Path


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, as far as the meaning of names depends on it.

    Attributes:
        digest: of what it says; formatting, comments and docstrings are no part of it.
        docs: of its docstrings.
        line: where it begins.
        label: what a person calls it.
        binds: module-level names that it binds or deletes.
        imports: module-level name → what an import here binds it to.
        loads: modules that imports here, wherever they stand, load.
        late_loads: those of them that only calls of functions load.
        imports_surely: it is an import, and nothing decides whether it is executed.
        star: modules that it star-imports.
        uses: every global name that it refers to.
        alters: names of its module whose objects it certainly changes as it is executed.
        rebinds: names that it changes then or later, such as a function that has them as `global`.
        eager: it does more than define a function when it is executed.
        effect: executing it may change something outside the names of this module.
        late_effect: what a function in it does outside of the project when called: 1 if its calls
            may, such as `random.seed`, which counts if it is called at load time; 2 if it changes
            an object that others see, such as `os.environ`.
        dynamic: it may define names that are not written in it.
        reads: 1 if it may read any name of its module, 2 if of any module.
        sensitivity: 0, DOCS or TEXT.
        foreign_readers: names of decorators and bases, which get hold of docstrings here.
        changes_arguments: a function in it changes objects that are handed to it.
        sets_attributes: … by setting their attributes, which functions and classes have too.
        caches: something that keeps what a function returned is made in it, or decorates it.
        fresh: the one value that it binds shares nothing mutable with other names.
        immutable: … and cannot be changed in place, if the values of `immutable_if` cannot.
        handles: it handles exceptions, such as that of a name that is not bound yet.
        stateful: it defines or makes an object that calls of its methods change.
    """

    digest: bytes
    docs: bytes
    line: int
    label: str
    binds: frozenset[str]
    imports: Mapping[str, frozenset[Target]]
    loads: frozenset[str]
    late_loads: frozenset[str]
    imports_surely: bool
    star: tuple[str, ...]
    uses: frozenset[Use]
    alters: frozenset[str]
    rebinds: frozenset[str]
    eager: bool
    effect: bool
    late_effect: int
    dynamic: bool
    reads: int
    sensitivity: int
    foreign_readers: frozenset[str]
    changes_arguments: bool
    sets_attributes: bool
    caches: bool
    fresh: bool
    immutable: bool
    immutable_if: frozenset[str]
    handles: bool
    stateful: bool
