"""Times as people say them."""

from __future__ import annotations

import time


def duration(ms: float) -> str:
    """How long something took."""
    if ms < 10:
        return f"{ms:.1f} ms" if ms >= 0.05 else "<0.1 ms"
    return f"{ms:.0f} ms" if ms < 1000 else seconds_text(ms / 1e3)


def seconds_text(seconds: float) -> str:
    """How long something took that may have taken long."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def clock(when: float) -> str:
    """The time of day."""
    return time.strftime("%H:%M:%S", time.localtime(when))
