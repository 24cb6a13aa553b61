"""Messages that are too long for a line of the protocol, with less in them.

A status of 1,000 nodes with summaries of 4 KiB each is 4 MiB, and a line has at most 1 MiB. What
is left out is what `result` and `why` give one by one: rows, texts, reasons and tracebacks. No
node, no problem and no event is left out.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from hamdev.messages import Diff, Event, NodeStatus, PlanStep, Problem, Summary

LEVELS = (1, 2, 3)
_CUT = "…"
# For each level: of a summary's text, of a traceback, of a message, of printed text.
_TEXT = {1: 160, 2: 24, 3: 0}
_TRACEBACK = {1: 2000, 2: 0, 3: 0}
_MESSAGE = {1: 2000, 2: 400, 3: 100}
_OUTPUT = {1: 400_000, 2: 100_000, 3: 10_000}
_COLUMNS = {1: 12, 2: 0, 3: 0}


def shortened(value: Any, level: int) -> Any:
    """A message, or plain data with messages in it, without some of its details.

    Args:
        value: the message.
        level: one of `LEVELS`: how much is left out.
    """
    match value:
        case dict():
            return {key: shortened(item, level) for key, item in value.items()}
        case list() | tuple():
            return [shortened(item, level) for item in value]
        case Summary():
            columns = value.columns[: _COLUMNS[level]] if value.columns else None
            text = _cut(value.text, _TEXT[level])
            return msgspec.structs.replace(value, text=text, columns=columns or None, rows=None)
        case Diff():
            return msgspec.structs.replace(value, text=_cut(value.text, _TEXT[level]), changes=[])
        case Problem():
            traceback = value.traceback
            if traceback is not None:
                traceback = traceback[-_TRACEBACK[level] :] if _TRACEBACK[level] else None
            message = _cut(value.message, _MESSAGE[level])
            return msgspec.structs.replace(value, message=message, traceback=traceback)
        case PlanStep():
            because = value.because[: 0 if level == 3 and value.action == "reuse" else 1]
            return msgspec.structs.replace(value, because=because)
        case NodeStatus() if level == 3:
            return msgspec.structs.replace(
                value,
                summary=UNSET,
                diff=UNSET,
                problem=shortened(value.problem, level),
            )
        case msgspec.Struct():
            changes = {
                name: shortened(getattr(value, name), level) for name in value.__struct_fields__
            }
            if isinstance(value, Event) and isinstance(value.text, str):
                changes["text"] = _cut(value.text, _OUTPUT[level])
            return msgspec.structs.replace(value, **changes)
    return value


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + _CUT
