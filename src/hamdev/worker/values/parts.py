"""The named parts of an object: fields, parameters, what it was fitted with.

Nothing is asked of an object that it would have to compute: its attributes are read where they are
stored.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hamdev.worker.values.pictures import FOLLOWS, picture_parts
from hamdev.worker.values.registry import Registry


@dataclass(frozen=True, slots=True)
class Parts:
    """An object, taken apart.

    Attributes:
        name: of its type.
        items: name → part.
        hidden: names of parts that a short text leaves out: defaults, and what is long.
        learnt: what follows from the others and from data, by name.
        note: what else is to be said of it in a word or two.
        kind: the kind of change that a change of a part is.
    """

    name: str
    items: Mapping[str, Any]
    hidden: frozenset[str] = frozenset()
    learnt: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    kind: str = "field"


def parts_of(value: Any) -> Parts | None:
    """The parts of `value`; None if it has none, or says what it is in its own way."""
    kind = type(value)
    if kind.__module__ == "builtins" or isinstance(value, type):
        return None
    make = _KINDS.find(value)
    if make is not None and (found := make(value)) is not None:
        return found
    if (pictured := picture_parts(value)) is not None:
        # How far the axes reach follows from what is drawn, unless it was set.
        axes = {name: part for name, part in pictured.items() if name.startswith(FOLLOWS)}
        drawn = {name: part for name, part in pictured.items() if name not in axes}
        return Parts(kind.__name__, drawn, learnt=axes, kind="picture")
    names = _field_names(kind)
    if names is not None:
        stored = _stored(value)
        return Parts(
            kind.__name__,
            {n: stored[n] if n in stored else getattr(value, n, None) for n in names},
        )
    return None


def state_of(value: Any) -> Parts | None:
    """The parts of any other object: its attributes; private ones follow from the others."""
    stored = _stored(value)
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                stored[name] = getattr(value, name)
    if not stored:
        return None
    public = {name: part for name, part in stored.items() if not name.startswith("_")}
    private = {name: part for name, part in stored.items() if name not in public}
    return Parts(type(value).__name__, public or private, learnt=private if public else {})


def _stored(value: Any) -> dict[str, Any]:
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return dict(found) if isinstance(found, dict) else {}


def _field_names(kind: type) -> list[str] | None:
    """Of dataclasses, attrs, named tuples and msgspec's structs, and of whatever is like them."""
    for mark in ("__dataclass_fields__", "__attrs_attrs__", "__struct_fields__"):
        fields = getattr(kind, mark, None)
        if fields is not None:
            return [name if isinstance(name, str) else str(name.name) for name in fields]
    fields = getattr(kind, "_fields", None)
    if issubclass(kind, tuple) and isinstance(fields, tuple):
        return [str(name) for name in fields]
    return None


def _pydantic(value: Any) -> Parts | None:
    stored = _stored(value)
    extra = getattr(value, "__pydantic_extra__", None)
    return Parts(type(value).__name__, stored | (extra if isinstance(extra, dict) else {}))


# -- scikit-learn's estimators, and those that are made like them --------------------------------

_defaults: weakref.WeakKeyDictionary[type, dict[str, Any]] = weakref.WeakKeyDictionary()


def _estimator(value: Any) -> Parts | None:
    stored = _stored(value)
    defaults = _defaults_of(type(value))
    params = {name: stored[name] for name in defaults if name in stored}
    fitted = {n: v for n, v in stored.items() if n.endswith("_") and not n.startswith("_")}
    hidden = {n for n, v in params.items() if _is_default(v, defaults[n])}
    steps: dict[str, Any] = {}
    for name in ("steps", "transformers", "transformer_list", "estimators"):
        pairs = params.get(name)
        if isinstance(pairs, list) and all(isinstance(p, tuple) and len(p) > 1 for p in pairs):
            # `scale.with_mean` says more than `steps[0][1].with_mean`.
            steps = {str(pair[0]): pair[1] if len(pair) == 2 else pair[1:] for pair in pairs}
            del params[name]
            break
    return Parts(
        type(value).__name__,
        {**steps, **params},
        frozenset(hidden),
        fitted,
        note="fitted"
        if fitted or any(_is_fitted(step) for step in steps.values())
        else "not fitted",
    )


def _is_fitted(step: Any) -> bool:
    return any(name.endswith("_") and not name.startswith("_") for name in _stored(step))


def _defaults_of(kind: type) -> dict[str, Any]:
    known = _defaults.get(kind)
    if known is None:
        start = kind.__init__  # type: ignore[misc]
        start = getattr(start, "deprecated_original", start)
        parameters = list(inspect.signature(start).parameters.values())[1:]
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        known = _defaults[kind] = {p.name: p.default for p in parameters if p.kind in named}
    return known


def _is_default(value: Any, default: Any) -> bool:
    if value is default:
        return True
    plain = (int, float, str, bool)
    return type(value) is type(default) and isinstance(value, plain) and value == default


def _lazy_frame(value: Any) -> Parts | None:
    """The plan of a LazyFrame: it is not executed."""
    plan = value.explain(optimized=False)
    return Parts("LazyFrame", {"plan": str(plan)})


def _sparse(value: Any) -> Parts | None:
    """A sparse matrix of scipy's, which has its numbers in ordinary arrays."""
    names = ("data", "indices", "indptr", "row", "col", "coords")
    stored = {n: getattr(value, n) for n in names if hasattr(value, n)}
    kind, (dtype, shape) = type(value).__name__, (str(value.dtype), tuple(value.shape))
    return Parts(
        kind,
        {"shape": shape, "dtype": dtype, "stored": int(value.nnz), **stored},
        frozenset(stored),
    )


def _labelled_array(value: Any) -> Parts:
    """A DataArray of xarray's; what is not in memory is not read."""
    coordinates = {str(name): _loaded(part) for name, part in value.coords.variables.items()}
    return Parts(
        type(value).__name__,
        {"dims": tuple(value.dims), "values": _loaded(value.variable), **coordinates},
        frozenset(coordinates),
    )


def _dataset(value: Any) -> Parts:
    variables = {str(name): _loaded(part) for name, part in value.variables.items()}
    return Parts(type(value).__name__, variables, kind="variable")


def _loaded(variable: Any) -> Any:
    return variable.values if variable._in_memory else (variable.dims, variable.shape)


_KINDS: Registry[Callable[[Any], Parts | None]] = Registry(
    {
        ("pydantic", "BaseModel"): _pydantic,
        ("sklearn", "BaseEstimator"): _estimator,
        ("polars", "LazyFrame"): _lazy_frame,
        ("xarray", "DataArray"): _labelled_array,
        ("xarray", "Dataset"): _dataset,
        ("scipy", "_spbase"): _sparse,
        ("scipy", "spmatrix"): _sparse,
    }
)
