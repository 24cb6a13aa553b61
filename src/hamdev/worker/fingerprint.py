"""Fingerprints of values: 16 bytes that stand for all that a node downstream can see of a value.

A value is written as a pickle into a hash, and nothing of it is kept. A plain pickle would say too
much (whether two equal strings are one object, how a frame lays out its columns) and too little
(of a class, a function or a file only the name), so both are put right on the way. Two equal
fingerprints of different values would serve a stale result, two fingerprints of equal values only
cost time: what is not understood has no fingerprint.
"""

from __future__ import annotations

import copyreg
import functools
import marshal
import pickle
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain, islice
from types import BuiltinFunctionType, CodeType, FunctionType, MappingProxyType, MethodType
from typing import Any, TypeAlias

from xxhash import xxh3_128, xxh3_128_digest, xxh3_128_intdigest

from hamdev.worker.fingerprint_libraries import NoFingerprintError, hash_of, loaded, rule_for

VersionOf: TypeAlias = Callable[[type | FunctionType], str | None]

# Data that `marshal` writes in full, by content alone; by version 2 of its format, since later ones
# tell interned strings from others and refer back to objects they have met.
ATOMS = frozenset({int, str, float, bool, type(None), bytes, complex})
_MARSHAL = 2
_SHORT = 4096
_ITEMS = 16_384
_CHUNK = 16 * 1024 * 1024
# A handle to data elsewhere stays the same when that data changes.
_REFERENCES = (
    "dask.",
    "distributed.",
    "duckdb.",
    "fsspec.",
    "ibis.",
    "pyarrow._dataset",
    "pyarrow._fs",
    "pyarrow.dataset",
    "xarray.backends.",
    "zarr.",
)


def fingerprint(value: Any, version_of: VersionOf) -> bytes | None:
    """16 bytes, equal for two values only if no node downstream can tell them apart.

    They are the same in every process that has the same Python and the same libraries, whatever
    its hash seed. Which of several equal strings, numbers or other plain immutable data an object
    is does not count; which of two equal lists, arrays or other mutable objects it is does.

    Args:
        value: anything; it is read, and its pickling hooks are called.
        version_of: the code version of *this* class or function object, and None for those of
            installed libraries, whose names are enough. It has to cover bases, defaults and
            decorators.

    Returns:
        None if the value has no fingerprint, which is equal to nothing. `Exception`s of the value's
        own hooks end up here too; an interrupt, which is a bare `BaseException`, passes.
    """
    kind = type(value)
    try:
        if kind in ATOMS and (kind not in (str, bytes) or len(value) <= _SHORT):
            return xxh3_128_digest(marshal.dumps(value, _MARSHAL))
        writer = _Writer(version_of)
        writer.dump(value)
        return writer.digest()
    except BaseException as error:  # whatever it is: hooks of values run any code
        if isinstance(error, Exception) or is_escape(error):
            return None
        raise


def is_escape(error: BaseException) -> bool:
    """Whether user code raised what gets past `except Exception` on purpose, and is not ours.

    That is an exit, which would end the worker, and the panic of a Rust extension.
    """
    return isinstance(error, SystemExit | KeyboardInterrupt) or (
        type(error).__name__ == "PanicException"
    )


def _stands_for(*parts: Any) -> None:
    """Named in the written pickle, where `parts` stand for an object; never called."""


class _Sink:
    """A file for the pickler, whose content goes into a hash."""

    __slots__ = ("write",)

    def __init__(self, update: Callable[[Any], None]) -> None:
        self.write = update


@dataclass(slots=True)
class _Memory:
    """The part of an object's memory that arrays met so far lie in."""

    number: int
    low: int
    high: int
    owner: Any


class _Writer(pickle.Pickler):
    """Writes one value's pickle into a hash.

    `persistent_id` sees every object and stands in for plain data, which the pickler would not
    let anybody override; `reducer_override` sees all the rest.
    """

    def __init__(self, version_of: VersionOf, order: dict[int, tuple[bytes, Any]] | None = None):
        self._hash = xxh3_128()
        super().__init__(_Sink(self._hash.update), protocol=5)
        self._version_of = version_of
        # Of elements of sets, by id: what they are sorted by, and the element, to keep it alive.
        self._order = {} if order is None else order
        # Of mutable things that have been written, by id: their number, and the thing likewise.
        self._met: dict[int, tuple[int, Any]] = {}
        self._memory: dict[int, _Memory] = {}
        self._rules: dict[type, Callable[[_Writer, Any], Any]] = {}
        self._plain = _plain_rules()

    def digest(self) -> bytes:
        return self._hash.digest()

    def persistent_id(self, obj: Any) -> Any:
        rule = self._plain.get(type(obj))
        return None if rule is None else rule(self, obj)

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        rule = self._rules.get(kind)
        if rule is None:
            rule = self._rules[kind] = _rule_for(kind)
        return rule(self, obj)

    def met(self, obj: Any) -> int | None:
        """The number of a mutable object that was met before, which is written instead of it."""
        known = self._met.get(id(obj))
        if known is None:
            self._met[id(obj)] = (len(self._met), obj)
            return None
        return (known[0] << 4) | 15

    def place(self, owner: Any, low: int, high: int) -> tuple[int, int] | None:
        known = self._memory.get(id(owner))
        if known is None:
            self._memory[id(owner)] = _Memory(len(self._memory), low, high, owner)
            return None
        shared = low < known.high and known.low < high
        result = (known.number, low - known.low) if shared else None
        known.low, known.high = min(low, known.low), max(high, known.high)
        return result

    def version_of(self, obj: type | FunctionType) -> str | None:
        return self._version_of(obj)

    def sorted(self, elements: Iterable[Any]) -> list[Any]:
        """Elements in an order that depends on what they hold, not on hashes or addresses."""

        def content(element: Any) -> bytes:
            known = self._order.get(id(element))
            if known is None:
                alone = _Writer(self._version_of, self._order)
                alone.dump(element)
                known = self._order[id(element)] = (alone.digest(), element)
            return known[0]

        return sorted(elements, key=content)


# --- plain data: what `persistent_id` writes ----------------------------------------------------
#
# Integers, since the pickler does not remember those: a hash and, in the last four bits, a kind.


def _mark(data: bytes, kind: int) -> int:
    return (xxh3_128_intdigest(data) << 4) | kind


def _str(writer: _Writer, text: str) -> int:
    return _mark(text.encode("utf-8", "surrogatepass"), 0)


def _bytes(writer: _Writer, data: bytes) -> int:
    return _mark(data, 1)


def _bytearray(writer: _Writer, data: bytearray) -> int:
    return writer.met(data) or _mark(bytes(data), 2)


def _pickle_buffer(writer: _Writer, buffer: pickle.PickleBuffer) -> Any:
    with memoryview(buffer) as view:
        seen = (view.format, view.shape, view.readonly, view.c_contiguous)
        flat = pickle.PickleBuffer(view if view.contiguous else view.tobytes()).raw()
    return seen, hash_of(flat[i : i + _CHUNK] for i in range(0, flat.nbytes, _CHUNK))


def _list(writer: _Writer, items: list[Any]) -> int | None:
    if not ATOMS.issuperset(map(type, items)):
        return None
    return writer.met(items) or _mark_items(items, len(items), 3)


def _tuple(writer: _Writer, items: tuple[Any, ...]) -> int | None:
    if not ATOMS.issuperset(map(type, items)):
        return None
    return _mark_items(items, len(items), 4)


def _dict(writer: _Writer, items: dict[Any, Any]) -> int | None:
    if not (ATOMS.issuperset(map(type, items.values())) and ATOMS.issuperset(map(type, items))):
        return None
    flat = chain.from_iterable(items.items())
    return writer.met(items) or _mark_items(flat, 2 * len(items), 5)


def _set(writer: _Writer, items: set[Any]) -> Any:
    if met := writer.met(items):
        return met
    if ATOMS.issuperset(map(type, items)):
        return _mark_items(_sorted_atoms(items), len(items), 6)
    return "set", writer.sorted(items)


def _frozenset(writer: _Writer, items: frozenset[Any]) -> Any:
    if ATOMS.issuperset(map(type, items)):
        return _mark_items(_sorted_atoms(items), len(items), 7)
    return writer.met(items) or ("frozenset", writer.sorted(items))


def _mapping_proxy(writer: _Writer, proxy: MappingProxyType[Any, Any]) -> Any:
    return "mappingproxy", proxy.copy()


def _numpy_scalar(writer: _Writer, scalar: Any) -> int:
    # Two types may have one dtype: longlong and int64.
    name = f"{type(scalar).__name__} {scalar.dtype.str} "
    return _mark(name.encode() + scalar.tobytes(), 8)


def _sorted_atoms(items: Iterable[Any]) -> list[bytes]:
    return sorted(marshal.dumps(item, _MARSHAL) for item in items)


def _mark_items(items: Iterable[Any], count: int, kind: int) -> int:
    """Stands for `count` atoms, of which no more than a slice is copied at a time."""
    if count <= _ITEMS:
        return _mark(marshal.dumps(list(items), _MARSHAL), kind)
    rest = iter(items)
    slices = iter(lambda: list(islice(rest, _ITEMS)), [])
    return (hash_of(marshal.dumps(part, _MARSHAL) for part in slices) << 4) | kind


_PLAIN: dict[type, Callable[[_Writer, Any], Any]] = {
    str: _str,
    bytes: _bytes,
    bytearray: _bytearray,
    pickle.PickleBuffer: _pickle_buffer,
    list: _list,
    tuple: _tuple,
    dict: _dict,
    set: _set,
    frozenset: _frozenset,
    MappingProxyType: _mapping_proxy,
}


def _plain_rules() -> dict[type, Callable[[_Writer, Any], Any]]:
    if (numpy := loaded("numpy", "generic")) is None:
        return _PLAIN
    return _plain_rules_with_numpy(numpy)


@functools.cache
def _plain_rules_with_numpy(numpy: Any) -> dict[type, Callable[[_Writer, Any], Any]]:
    # The memory of a void scalar says nothing without its fields.
    kinds = set(numpy.sctypeDict.values()) - {numpy.object_, numpy.void}
    return {**_PLAIN, **dict.fromkeys(kinds, _numpy_scalar)}


# --- objects: what `reducer_override` writes ----------------------------------------------------


def _rule_for(kind: type) -> Callable[[_Writer, Any], Any]:
    """How to write objects of this very type."""
    if issubclass(kind, type):
        return _class
    if kind in _EXACT:
        return _EXACT[kind]
    # An iterator is used up by its first reader. A bare object() is a mark that is compared by
    # identity, and a module that is executed again makes a new one.
    if hasattr(kind, "__next__") or kind is object:
        return _refuse
    if any(f"{base.__module__}.".startswith(_REFERENCES) for base in kind.__mro__):
        return _refuse
    if issubclass(kind, set | frozenset) and kind.__reduce__ in (
        set.__reduce__,
        frozenset.__reduce__,
    ):
        return _set_subclass
    if issubclass(kind, BaseException):
        return _exception
    library_rule = rule_for(kind)
    if library_rule is None:
        is_of_pandas = f"{kind.__module__}.".startswith("pandas.")
        return _without_caches if is_of_pandas else _reduced

    def rule(writer: _Writer, obj: Any) -> Any:
        parts = library_rule(writer, obj)
        return _reduced(writer, obj) if parts is None else (_stands_for, parts)

    return rule


def _refuse(writer: _Writer, obj: Any) -> Any:
    raise NoFingerprintError(type(obj).__qualname__)


def _by_name(writer: _Writer, obj: Any) -> Any:
    return NotImplemented


def _class(writer: _Writer, cls: type) -> Any:
    version = writer.version_of(cls)
    if version is None:
        # Written by name, which the pickler makes sure leads to this very class.
        return NotImplemented if cls.__module__ not in _MAIN else _refuse(writer, cls)
    if "<locals>" in cls.__qualname__:
        # Its body has seen variables that its text does not tell.
        return _refuse(writer, cls)
    return _stands_for, ("class", cls.__module__, cls.__qualname__, version)


def _function(writer: _Writer, function: FunctionType) -> Any:
    if function is _stands_for:
        return NotImplemented
    module, name = function.__module__, function.__qualname__
    nameless = "<" in name
    version = writer.version_of(function)
    if version is None:
        return _refuse(writer, function) if nameless or module in _MAIN else NotImplemented
    if function.__closure__ and (nameless or _lookup(module, name) is not function):
        return _refuse(writer, function)
    if not nameless:
        return _stands_for, ("function", module, name, version)
    # Several lambdas share a name, and defaults of inner functions are values of the run.
    seen = (function.__defaults__, function.__kwdefaults__, function.__dict__)
    return _stands_for, ("function", module, name, version, _code(function.__code__), seen)


def _lookup(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _code(code: CodeType) -> tuple[Any, ...]:
    constants = tuple(_code(c) if isinstance(c, CodeType) else c for c in code.co_consts)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    return code.co_code, constants, names, counts, code.co_exceptiontable


def _method(writer: _Writer, method: MethodType) -> Any:
    # Its own pickle holds the function's name only, and any function can be bound to any object.
    return _stands_for, ("method", method.__func__, method.__self__)


def _lru_cache(writer: _Writer, cached: Any) -> Any:
    if writer.version_of(cached.__wrapped__) is None:
        return NotImplemented
    return _stands_for, ("lru_cache", cached.__wrapped__, cached.cache_parameters())


def _set_subclass(writer: _Writer, items: Any) -> Any:
    state = (writer.sorted(items), object.__getstate__(items))
    return _stands_for, ("subclass of set", type(items), state)


def _exception(writer: _Writer, error: BaseException) -> Any:
    if error.__traceback__ is not None:  # it holds frames, and their variables
        return _refuse(writer, error)
    linked = (error.__cause__, error.__context__, error.__suppress_context__)
    return _stands_for, ("exception", error.__reduce_ex__(5), linked)


def _reduced(writer: _Writer, obj: Any) -> Any:
    """What pickle would do, except for objects whose pickle is nothing but a name."""
    kind = type(obj)
    reduce = copyreg.dispatch_table.get(kind)
    reduced = obj.__reduce_ex__(5) if reduce is None else reduce(obj)
    if isinstance(reduced, str):
        module = getattr(obj, "__module__", None)
        return _stands_for, ("named", kind, module, reduced, object.__getstate__(obj))
    return reduced


def _without_caches(writer: _Writer, obj: Any) -> Any:
    """What pickle would do, without what pandas has worked out since somebody has looked at it."""
    reduced = _reduced(writer, obj)
    if not isinstance(reduced, tuple) or len(reduced) < 3:
        return reduced
    state = reduced[2]
    if isinstance(state, tuple):
        # An array has its attributes last, if it has any.
        uncached = [_uncached(part) for part in state]
        state = tuple(part for part in uncached if type(part) is not dict or part)
    return *reduced[:2], _uncached(state), *reduced[3:]


def _uncached(state: Any) -> Any:
    if type(state) is not dict:
        return state
    return {name: value for name, value in state.items() if name != "_cache"}


_MAIN = frozenset({"__main__", "__mp_main__"})
_EXACT: dict[type, Callable[[_Writer, Any], Any]] = {
    FunctionType: _function,
    MethodType: _method,
    BuiltinFunctionType: _by_name,
    type(Ellipsis): _by_name,
    type(NotImplemented): _by_name,
    type(functools.lru_cache(_stands_for)): _lru_cache,
}
