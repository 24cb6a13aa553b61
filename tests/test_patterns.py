"""Which files the patterns of the settings mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamdev.config import parse_settings
from hamdev.errors import SettingsError
from hamdev.patterns import DataPatterns

FILES = [
    "a.csv", "b.parquet", "data/c.csv", "data/deep/d.csv", "data/deep/er/e.csv", "data/f.txt",
    ".venv/lib/g.csv", "data/.venv/h.csv", "build/i.csv", "raw/j.csv", "raw/tmp/k.csv",
    "x[1].csv",
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "ignore", "expected"),
    [
        (["*.csv"], [], ["a.csv", "x[1].csv"]),
        (["data/*.csv"], [], ["data/c.csv"]),
        (["data/**/*.csv"], [], ["data/c.csv", "data/deep/d.csv", "data/deep/er/e.csv"]),
        (["data/**"], [], ["data/c.csv", "data/deep/d.csv", "data/deep/er/e.csv", "data/f.txt"]),
        (["data"], [], ["data/c.csv", "data/deep/d.csv", "data/deep/er/e.csv", "data/f.txt"]),
        (["data/c.csv", "*.parquet"], [], ["b.parquet", "data/c.csv"]),
        (["data/de?p/[a-d].csv"], [], ["data/deep/d.csv"]),
        (["./data/c.csv"], [], ["data/c.csv"]),
        (["data/**/*.csv"], ["deep/"], ["data/c.csv"]),
        (["data/**/*.csv"], ["/data/deep/er"], ["data/c.csv", "data/deep/d.csv"]),
        (["data/**/*.csv"], ["*.csv", "!c.csv"], ["data/c.csv"]),
        (["raw/**/*.csv"], [], ["raw/j.csv"]),
        (["**/j.csv", "**/i.csv"], [], []),
    ],
)
def test_files(data: list[str], ignore: list[str], expected: list[str], tmp_path: Path) -> None:
    for name in FILES:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    # A folder that `data` names outright counts whatever git thinks of it.
    (tmp_path / ".gitignore").write_text("build/\nraw\ntmp/\n*.parquet\n")
    patterns = DataPatterns(tmp_path, data, ignore)
    assert patterns.files() == [str(tmp_path / name) for name in expected]
    assert all(patterns.matches(file) for file in patterns.files())
    absolute = DataPatterns(tmp_path, [f"{tmp_path}/{p.removeprefix('./')}" for p in data], ignore)
    assert absolute.files() == patterns.files()


def test_data_outside_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.csv").touch()
    for pattern in ("../elsewhere/*.csv", f"{tmp_path}/elsewhere/*.csv"):
        assert DataPatterns(tmp_path / "project", [pattern], []).files() == [
            str(tmp_path / "elsewhere/a.csv")
        ]


@pytest.mark.parametrize(("key", "bad"), [("data", ""), ("ignore", "!"), ("data", "  ")])
def test_a_pattern_that_is_none(key: str, bad: str) -> None:
    with pytest.raises(SettingsError, match=rf"watch\.{key}.*pattern") as caught:
        parse_settings(f'[watch]\n{key} = ["{bad}"]\n'.encode())
    assert caught.value.line == 2
