"""Random saves and faults for a while; `python -m benchmarks.soak` goes on as long as wanted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


def soak(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.soak", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(300)
def test_saves_in_the_middle_of_everything() -> None:
    found = soak("--rounds", "100", "--saves-only", "--seed", "1")
    assert found["rounds"] == 100
    assert found["daemon_starts"] == 1


@pytest.mark.timeout(300)
def test_faults_at_any_moment() -> None:
    found = soak("--rounds", "8", "--seed", "1")
    assert found["rounds"] == 8
    assert found["left_over"] == {"processes": [], "files": []}
