"""Values and reasons in one line, as commands and the terminal show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from msgspec import structs

from hamdev.clients.render import why_text
from hamdev.clients.values_in_line import value_text
from hamdev.worker.summary import summarize

YEARS = pd.Series(range(1990, 2013), name="year")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2012, "2012"),
        ("a\nb", "a … (2 lines, 3 characters)"),
        ("x" * 5000, f"{'x' * 60} … (5,000 characters)"),
        (np.arange(12.0).reshape(3, 4), "float64 array 3 × 4: 0 … 11, mean 5.5"),
        (pd.Series([1.0, None]), "Series 2: 1, 1 missing"),
        (YEARS, "Series 23: 1990 … 2012"),
        (YEARS.to_frame(), "DataFrame 23 × 1: year"),
        (pd.Series(range(200_000)), "Series 200,000: 0 … 199,998 in a sample"),
        (pd.DataFrame(np.zeros((2, 99))), f"DataFrame 2 × 99: {', '.join(map(str, range(29)))}, …"),
        (pd.DataFrame(), "DataFrame 0 × 0"),
    ],
    ids=["int", "text", "long", "array", "nulls", "series", "frame", "large", "wide", "empty"],
)
def test_it_says_what_is_most_telling(value: Any, shown: str) -> None:
    assert value_text(structs.asdict(summarize(value))) == shown


def test_why_names_files_as_seen_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    because = {"text": "its code changed", "file": str(tmp_path / "a.py"), "line": 3}
    step = {"node": "total", "action": "run", "because": [because]}
    assert why_text(step) == "total ran, because\n  its code changed  [a.py:3]"
