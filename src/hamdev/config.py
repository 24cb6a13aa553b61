"""`devserver.toml` → `Settings`: every mistake is located, none is guessed away."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from hamdev.content import file_content
from hamdev.errors import SettingsError, did_you_mean
from hamdev.paths import SETTINGS_NAME

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LogFormat = Literal["console", "json"]
ExecutorName = Literal["inline", "threads", "dask", "ray"]
LOG_LEVELS: tuple[str, ...] = get_args(LogLevel)

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=60_000)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file."""


class ServerSettings(_Table, frozen=True, kw_only=True):
    """`[server]`: how the daemon logs and where it listens."""

    log_level: LogLevel = "INFO"
    log_format: LogFormat = "console"
    socket: str = "auto"
    web: bool = True
    web_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0


class WatchSettings(_Table, frozen=True, kw_only=True):
    """`[watch]`: when a save counts as settled, and what is looked at."""

    settle_ms: Milliseconds = 10
    sweep_ms: Annotated[int, msgspec.Meta(ge=20, le=3_600_000)] = 1000
    data: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    pipelines_dir: Annotated[
        str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*([./][A-Za-z_][A-Za-z0-9_]*)*$")
    ] = "pipelines"


class MemorySettings(_Table, frozen=True, kw_only=True):
    """`[memory]`: how much is kept of what nodes computed, in bytes and milliseconds."""

    max_bytes: Annotated[int, msgspec.Meta(ge=0)] = 2 * 1024**3
    keep_slower_than_ms: Annotated[int, msgspec.Meta(ge=0)] = 200
    disk_max_bytes: Annotated[int, msgspec.Meta(ge=0)] = 5 * 1024**3


class PipelineSettings(_Table, frozen=True, kw_only=True):
    """`[pipelines.NAME]`: what is composed with the main module NAME, and how it is executed."""

    with_: tuple[str, ...] = msgspec.field(default=(), name="with")
    final_vars: tuple[str, ...] = ()
    inputs: dict[str, Any] = {}
    config: dict[str, Any] = {}
    async_driver: bool = True
    executor: ExecutorName = "inline"
    executor_options: dict[str, Any] = {}
    with_adapter: dict[str, bool | dict[str, Any]] = {}
    timeout_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Settings(_Table, frozen=True, kw_only=True):
    """The whole file; every value is present, by default if need be."""

    server: ServerSettings = ServerSettings()
    watch: WatchSettings = WatchSettings()
    memory: MemorySettings = MemorySettings()
    pipelines: dict[str, PipelineSettings] = {}


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line of `watch` or `run` says; empty or None: nothing.

    Attributes:
        pipelines: names of main modules, as typed.
        with_: additional modules.
        final_vars: nodes wanted.
        inputs: runtime inputs by name.
        config: Hamilton's config.
        log_level: the level of hamdev's own log lines.
        log_format: how they look.
    """

    pipelines: tuple[str, ...] = ()
    with_: tuple[str, ...] = ()
    final_vars: tuple[str, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    log_level: LogLevel | None = None
    log_format: LogFormat | None = None


_TABLES: dict[str, type[_Table]] = {
    "server": ServerSettings,
    "watch": WatchSettings,
    "memory": MemorySettings,
}


def load_settings(project: Path) -> Settings:
    """The project's settings.

    Args:
        project: the folder that may hold a `devserver.toml`; without one all defaults hold.

    Raises:
        SettingsError: the file cannot be read, is no TOML, or has unknown keys or bad values;
            all mistakes at once.
    """
    file = project / SETTINGS_NAME
    try:
        content = file_content(str(file))
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise SettingsError(str(file), [f"cannot be read: {error.strerror}"]) from error
    return parse_settings(content, str(file))


def parse_settings(content: bytes, file: str = SETTINGS_NAME) -> Settings:
    """`Settings` from the bytes of a settings file; `file` is its name in messages.

    Raises:
        SettingsError: as `load_settings`.
    """
    try:
        data = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise SettingsError(file, [f"is not UTF-8 text (byte {error.start})"]) from error
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else None
        raise SettingsError(file, [f"is not valid TOML: {error}"], line) from error
    mistakes = list(_mistakes(data))
    if mistakes:
        first_key = mistakes[0][0].rpartition(".")[2]
        raise SettingsError(
            file, [f"{path}: {text}" for path, text in mistakes], _line_of(content, first_key)
        )
    return msgspec.convert(data, Settings)


def apply_options(settings: Settings, options: Options) -> Settings:
    """The settings that hold when the command line says `options`; it beats the file.

    Args:
        settings: the file's.
        options: their `with_` and `final_vars` replace the file's, `inputs` and `config` are
            merged with them key by key; all four hold for every pipeline that is served.

    Returns:
        Settings whose `pipelines` are exactly those to be served: the named ones in the order
        named, or every table of the file.

    Raises:
        SettingsError: there is nothing to serve.
    """
    given = options.pipelines or tuple(settings.pipelines)
    if not given:
        raise SettingsError(
            None,
            [
                "no pipeline to serve. Way out: name one, as in 'hamdev watch PIPELINE', or add "
                f"a table [pipelines.PIPELINE] to {SETTINGS_NAME}"
            ],
        )
    served = {}
    for name in given:
        table = find_name(name, settings.pipelines)
        served[table or name.replace("-", "_")] = _with_options(
            settings.pipelines[table] if table else PipelineSettings(), options
        )
    server = {
        key: value
        for key, value in (("log_level", options.log_level), ("log_format", options.log_format))
        if value is not None
    }
    return msgspec.structs.replace(
        settings,
        server=msgspec.structs.replace(settings.server, **server),
        pipelines=served,
    )


def find_name(given: str, known: Iterable[str]) -> str | None:
    """The one of `known` that a pipeline's name as typed stands for, as the library matches it."""
    known = set(known)
    for candidate in (given, given.replace("-", "_"), given.rpartition(".")[2]):
        if candidate in known:
            return candidate
    return None


def _with_options(table: PipelineSettings, options: Options) -> PipelineSettings:
    return msgspec.structs.replace(
        table,
        with_=options.with_ or table.with_,
        final_vars=options.final_vars or table.final_vars,
        inputs={**table.inputs, **options.inputs},
        config={**table.config, **options.config},
    )


def _mistakes(data: dict[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in data.items():
        if key == "pipelines":
            if not isinstance(value, dict):
                found.append((key, f"must be a table of pipelines, not {value!r}"))
                continue
            for name, table in value.items():
                found += _table_mistakes(f"pipelines.{name}", table, PipelineSettings)
        elif key in _TABLES:
            found += _table_mistakes(key, value, _TABLES[key])
        else:
            found.append((key, f"unknown key; {did_you_mean(key, [*_TABLES, 'pipelines'])}"))
    return found


def _table_mistakes(path: str, table: Any, kind: type[_Table]) -> list[tuple[str, str]]:
    if not isinstance(table, dict):
        return [(path, f"must be a table, not {table!r}")]
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    found = []
    for key, value in table.items():
        if key not in fields:
            found.append((f"{path}.{key}", f"unknown key; {did_you_mean(key, fields)}"))
            continue
        try:
            msgspec.convert(value, fields[key].type)
        except msgspec.ValidationError as error:
            hint = _choices(fields[key].type, value)
            found.append((f"{path}.{key}", f"{value!r} is not allowed: {error}{hint}"))
            continue
        if kind is WatchSettings and key in ("data", "ignore") and value:
            # Late: few projects have any, and every command reads the settings.
            from hamdev.patterns import require_valid

            try:
                require_valid(value)
            except ValueError as error:
                found.append((f"{path}.{key}", str(error)))
    return found


def _choices(kind: Any, value: Any) -> str:
    choices = [choice for choice in get_args(kind) if isinstance(choice, str)]
    return f"; {did_you_mean(str(value), choices)}" if choices else ""


def _line_of(content: bytes, key: str) -> int | None:
    pattern = re.compile(rf"^\s*(?:{re.escape(key)}\s*=|\[.*\b{re.escape(key)}\s*\])")
    for number, line in enumerate(content.decode("utf-8").splitlines(), start=1):
        if pattern.match(line):
            return number
    return None
