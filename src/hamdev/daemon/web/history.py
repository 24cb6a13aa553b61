"""The last runs for a page that was not open then: their events, without what is not shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from hamdev.daemon.web.edits import FileEdit
from hamdev.messages import PlanStep
from hamdev.wire import to_json

MAX_RUNS = 100
MAX_BYTES = 1024 * 1024


class _Event(msgspec.Struct, omit_defaults=True):
    """What is shown of an event; summaries, output and snapshots are left out."""

    type: str
    revision: int
    seq: int
    time: float
    run: int | None = None
    pipeline: str | None = None
    cause: msgspec.Raw = msgspec.Raw(b"")
    plan: list[PlanStep] | None = None
    node: str | None = None
    ms: float | None = None
    action: str | None = None
    changed: bool | None = None
    diff: msgspec.Raw = msgspec.Raw(b"")
    problem: msgspec.Raw = msgspec.Raw(b"")
    problems: msgspec.Raw = msgspec.Raw(b"")
    outcome: str | None = None
    ran: int | None = None
    reused: int | None = None
    failed: int | None = None


class _Line(msgspec.Struct):
    params: _Event


_SHOWN = frozenset({"run.started", "node.finished", "node.failed", "load.failed", "run.finished"})
# Because of these a node is run only since another one is.
_FOLLOWING = frozenset({"input", "upstream", "unchanged"})
_decoder = msgspec.json.Decoder(_Line)


def history(lines: Iterable[bytes], edits: Mapping[int, list[FileEdit]]) -> bytes:
    """The events of the last runs as JSON: `{"events": […], "edits": {revision: […]}}`.

    It may take a while, and is for a thread.

    Args:
        lines: of the protocol, the oldest first.
        edits: revision → the lines that it changed.
    """
    found: list[dict[str, Any]] = []
    runs = 0
    size = 0
    for line in reversed([*lines]):
        event = _decoder.decode(line).params
        if event.type not in _SHOWN or (event.type == "node.finished" and event.action != "ran"):
            continue
        shown = {
            name: value
            for name in event.__struct_fields__
            if (value := getattr(event, name)) is not None and not _is_absent(value)
        }
        if event.plan is not None:
            shown["plan"] = [step for step in event.plan if _is_origin(step)]
        size += len(to_json(shown))
        if size > MAX_BYTES:
            break
        found.append(shown)
        runs += event.type == "run.started"
        if runs == MAX_RUNS:
            break
    return to_json({"events": found[::-1], "edits": {str(key): edits[key] for key in edits}})


def _is_origin(step: PlanStep) -> bool:
    """Whether a node runs because of something else than other nodes."""
    return step.action == "run" and any(b.kind not in _FOLLOWING for b in step.because)


def _is_absent(value: Any) -> bool:
    return isinstance(value, msgspec.Raw) and not bytes(value)
