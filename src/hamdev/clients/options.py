"""Options that several commands share, and how what is typed becomes a value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hamdev.config import Options

F = TypeVar("F", bound=Callable[..., Any])

LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


def _key_values(
    context: click.Context, parameter: click.Parameter, entries: Iterable[str]
) -> dict[str, Any]:
    """Key → value, of texts `KEY=VALUE`; VALUE is JSON, or else the text itself."""
    values: dict[str, Any] = {}
    for entry in entries:
        key, equals, text = entry.partition("=")
        if not equals or not key:
            raise click.BadParameter(
                f"{entry!r} is not of the form KEY=VALUE, as in n=3 or name=text "
                "(VALUE is JSON, such as 3, true or [1, 2], or else a text).",
                context,
                parameter,
            )
        try:
            values[key] = json.loads(text, parse_constant=_refuse)
        except ValueError:
            values[key] = text
    return values


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON, though Python reads it")


def run_options(command: F) -> F:
    """The options of `watch` and `run`."""
    options = [
        click.option(
            "--with",
            "with_",
            metavar="MODULE",
            multiple=True,
            help="Additional module, loaded before the main one, which wins. Repeatable; also a,b.",
        ),
        click.option(
            "--final-var",
            "final_vars",
            metavar="NODE",
            multiple=True,
            help="A node that is wanted; by default every leaf. Repeatable.",
        ),
        click.option(
            "--input",
            "inputs",
            metavar="KEY=VALUE",
            callback=_key_values,
            multiple=True,
            help="An input of the DAG. VALUE is JSON, else text. Repeatable.",
        ),
        click.option(
            "--set",
            "config",
            metavar="KEY=VALUE",
            callback=_key_values,
            multiple=True,
            help="An entry of Hamilton's config. VALUE is JSON, else text. Repeatable.",
        ),
        click.option(
            "--log-level",
            type=click.Choice(LEVELS, case_sensitive=False),
            help="How much is logged to stderr.",
        ),
        click.option(
            "--log-format", type=click.Choice(["console", "json"]), help="How log lines look."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def output_options(formats: list[str], file_help: str) -> Callable[[F], F]:
    """The options of commands that print something, or write it to a file: how, and where to."""

    def with_options(command: F) -> F:
        command = click.option(
            "-o",
            "--output",
            type=click.Path(dir_okay=False, writable=True, path_type=Path),
            metavar="FILE",
            help=file_help,
        )(command)
        return click.option(
            "--format",
            "format_",
            type=click.Choice(formats),
            help="By default what the ending of -o says, or text.",
        )(command)

    return with_options


def example(text: str) -> str:
    """The end of a command's help, kept as it is written."""
    return f"\b\nExample:\n  {text}"


def as_options(
    pipelines: Iterable[str],
    with_: Iterable[str],
    final_vars: Iterable[str],
    inputs: Mapping[str, Any],
    config: Mapping[str, Any],
    log_level: Any,
    log_format: Any,
) -> Options:
    """What `run_options` have been given, as one thing."""
    from hamdev.config import Options

    modules = (module.strip() for entry in with_ for module in entry.split(","))
    return Options(
        pipelines=tuple(pipelines),
        with_=tuple(module for module in modules if module),
        final_vars=tuple(final_vars),
        inputs=inputs,
        config=config,
        log_level=log_level and log_level.upper(),
        log_format=log_format,
    )
