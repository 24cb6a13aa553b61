"""What one run is asked to do, and how several askers are merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any, Literal

from hamdev.config import LOG_LEVELS, PipelineSettings
from hamdev.errors import did_you_mean

ModuleEntry = str | ModuleType
EXECUTORS = ("inline", "threads", "dask", "ray")

_PER_KEY = frozenset(
    {"inputs", "config", "overrides", "with_adapter", "adapter", "executor_options"}
)


class _Unset:
    def __repr__(self) -> str:
        return "<not given>"


_UNSET: Any = _Unset()


@dataclass(frozen=True, init=False)
class RunConfig:
    """What one run is asked to do.

    A value that was given on purpose counts as given even if it equals the default, so a
    `RunConfig(reload=False)` beats a layer below it that says True.

    Attributes:
        inputs: runtime inputs of the DAG, by name.
        config: Hamilton's config, which selects `@config.when` variants and stands for nodes.
        overrides: node name → the value to use instead of executing the node.
        final_vars: the nodes wanted, in the order of the result; empty: every leaf node that
            can be computed.
        additional_modules: module names or module objects, composed before the main module.
        reload: read the modules again from source before the run.
        async_driver: None or True: `run_async` may use Hamilton's async driver; False: it raises.
        log_level: the level of hamdev's log lines during this run; None leaves them at WARNING.
        with_adapter: adapters by their short name: True, False, or a mapping of options.
        adapter: adapter instances, by a name of your own.
        executor: where node functions are called: inline, threads, dask or ray.
        executor_options: keywords for the executor, such as `max_workers` or `address`.
        timeout_s: seconds after which the run is given up; None: no limit.

    Raises:
        TypeError: an unknown keyword (the message names the nearest field) or a wrong type.
        ValueError: an unknown executor or log level.
    """

    inputs: Mapping[str, Any]
    config: Mapping[str, Any]
    overrides: Mapping[str, Any]
    final_vars: tuple[str, ...]
    additional_modules: tuple[ModuleEntry, ...]
    reload: bool
    async_driver: bool | None
    log_level: str | None
    with_adapter: Mapping[str, bool | Mapping[str, Any]]
    adapter: Mapping[str, Any]
    executor: Literal["inline", "threads", "dask", "ray"]
    executor_options: Mapping[str, Any]
    timeout_s: float | None

    def __init__(
        self,
        *,
        inputs: Mapping[str, Any] | None = _UNSET,
        config: Mapping[str, Any] | None = _UNSET,
        overrides: Mapping[str, Any] | None = _UNSET,
        final_vars: Sequence[str] | None = _UNSET,
        additional_modules: ModuleEntry | Sequence[ModuleEntry] | None = _UNSET,
        reload: bool = _UNSET,
        async_driver: bool | None = _UNSET,
        log_level: str | None = _UNSET,
        with_adapter: Mapping[str, bool | Mapping[str, Any]] | None = _UNSET,
        adapter: Mapping[str, Any] | Sequence[Any] | None = _UNSET,
        executor: str = _UNSET,
        executor_options: Mapping[str, Any] | None = _UNSET,
        timeout_s: float | None = _UNSET,
        **unknown: Any,
    ) -> None:
        for name in unknown:
            raise TypeError(
                f"unknown run option {name!r}; {did_you_mean(name, [f.name for f in fields(self)])}"
            )
        given = {
            name: value
            for name, value in (
                ("inputs", inputs),
                ("config", config),
                ("overrides", overrides),
                ("final_vars", final_vars),
                ("additional_modules", additional_modules),
                ("reload", reload),
                ("async_driver", async_driver),
                ("log_level", log_level),
                ("with_adapter", with_adapter),
                ("adapter", adapter),
                ("executor", executor),
                ("executor_options", executor_options),
                ("timeout_s", timeout_s),
            )
            if value is not _UNSET
        }
        self._set({name: _checked(name, value) for name, value in given.items()})

    def _set(self, given: dict[str, Any]) -> None:
        for name, default in _DEFAULTS.items():
            object.__setattr__(self, name, given.get(name, default))
        object.__setattr__(self, "_given", given)

    @property
    def given(self) -> Mapping[str, Any]:
        """The fields that were given on purpose, with their values."""
        return dict(self._given)  # type: ignore[attr-defined]  # set by _set, kept out of fields()

    @classmethod
    def merged(cls, layers: Iterable[RunConfig]) -> RunConfig:
        """One config from several, each beating the ones before it.

        `inputs`, `config`, `overrides`, `with_adapter`, `adapter` and `executor_options` are
        merged key by key; every other field is replaced as a whole. Options that were given
        together with another executor than the one that wins are left out.
        """
        layers = list(layers)
        merged: dict[str, Any] = {}
        for layer in layers:
            merged.update({k: v for k, v in layer.given.items() if k == "executor"})
        executor = merged.get("executor")
        for layer in layers:
            for name, value in layer.given.items():
                if name == "executor_options" and layer.given.get("executor", executor) != executor:
                    continue
                merged[name] = {**merged.get(name, {}), **value} if name in _PER_KEY else value
        result = cls.__new__(cls)
        result._set(merged)
        return result

    @classmethod
    def from_settings(cls, settings: PipelineSettings) -> RunConfig:
        """What `[pipelines.NAME]` in `devserver.toml` asks for."""
        executor: dict[str, Any] = {}
        if settings.executor != "inline":
            executor["executor"] = settings.executor
        return cls(
            additional_modules=settings.with_,
            final_vars=settings.final_vars,
            inputs=settings.inputs,
            config=settings.config,
            async_driver=settings.async_driver,
            executor_options=settings.executor_options,
            with_adapter=settings.with_adapter,
            timeout_s=settings.timeout_s or None,
            **executor,
        )


_DEFAULTS: dict[str, Any] = {
    "inputs": {},
    "config": {},
    "overrides": {},
    "final_vars": (),
    "additional_modules": (),
    "reload": False,
    "async_driver": None,
    "log_level": None,
    "with_adapter": {},
    "adapter": {},
    "executor": "inline",
    "executor_options": {},
    "timeout_s": None,
}


def _checked(name: str, value: Any) -> Any:
    """`value` in the form its field has, or a TypeError or ValueError that names the field."""
    match name:
        case "adapter" if value is not None and not isinstance(value, Mapping):
            if isinstance(value, str) or not isinstance(value, Iterable):
                raise TypeError(
                    f"adapter= takes a mapping name → instance or a sequence, not {value!r}"
                )
            # The identity as the key: merging never drops one of two adapters of one class.
            return {f"{type(item).__qualname__}@{id(item):x}": item for item in value}
        case _ if name in _PER_KEY:
            if value is None:
                return {}
            if not isinstance(value, Mapping):
                raise TypeError(f"{name}= takes a mapping, not {value!r}")
            return dict(value)
        case "final_vars":
            # Hamilton takes functions and Variables there, too; both are known by their name.
            if value is not None and not isinstance(value, str):
                value = [v if isinstance(v, str) else _name_of(v) for v in value]
            return _names(name, value, str)
        case "additional_modules":
            return _names(
                name, [value] if isinstance(value, str | ModuleType) else value, ModuleEntry
            )
        case "executor":
            if value not in EXECUTORS:
                raise ValueError(
                    f"unknown executor {value!r}; {did_you_mean(str(value), EXECUTORS)}"
                )
        case "log_level" if value is not None:
            if not isinstance(value, str) or value.upper() not in LOG_LEVELS:
                raise ValueError(f"unknown log level {value!r}; known: {', '.join(LOG_LEVELS)}")
            return value.upper()
        case "timeout_s" if value is not None:
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise ValueError(f"timeout_s= takes seconds (0 or None: no limit), not {value!r}")
            return float(value) or None
        case "reload" if not isinstance(value, bool):
            raise TypeError(f"reload= takes True or False, not {value!r}")
        case "async_driver" if not isinstance(value, bool | None):
            raise TypeError(f"async_driver= takes True, False or None, not {value!r}")
    return value


def _name_of(wanted: Any) -> Any:
    return getattr(wanted, "__name__", None) or getattr(wanted, "name", wanted)


def _names(name: str, value: Any, kind: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name}= takes a sequence, not {value!r}")
    entries = tuple(value)
    for entry in entries:
        if not isinstance(entry, kind):
            what = "names" if kind is str else "module names or module objects"
            raise TypeError(f"{name}= takes {what}, not {entry!r}")
    return entries
