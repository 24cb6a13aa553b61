"""The sample in `pipelines/`, against the same figures computed with the csv module alone."""

from __future__ import annotations

import csv
import itertools
import shutil
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from hamdev import PipelineManager

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "pipelines" / "data" / "seattle-weather.csv"
# The table is rounded to two decimals; a half may be rounded either way.
ROUNDING = 0.0051


@pytest.fixture(scope="module")
def days() -> list[dict[str, str]]:
    with DATA.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def expected(days: list[dict[str, str]]) -> dict[str, Any]:
    by_month = defaultdict(list)
    by_year: dict[str, float] = defaultdict(float)
    for day in days:
        year, month, _ = day["date"].split("/")
        rain = float(day["precipitation"])
        temperature = (float(day["temp_max"]) + float(day["temp_min"])) / 2
        by_month[int(month)].append((temperature, rain, rain >= 1))
        by_year[year] += rain
    wet = [float(day["precipitation"]) >= 1 for day in days]
    spells = [len(list(run)) for is_wet, run in itertools.groupby(wet) if not is_wet]
    wettest = max(by_year, key=lambda year: by_year[year])
    return {
        "by_month": {
            month: [fmean(column) for column in zip(*rows, strict=True)]
            for month, rows in sorted(by_month.items())
        },
        "longest_dry_spell_days": max(spells),
        "wettest_year": f"{wettest}, with {by_year[wettest]:.0f} mm",
    }


def check(results: dict[str, Any], expected: dict[str, Any], fahrenheit: bool = False) -> None:
    assert set(results) == set(expected)
    table = results["by_month"]
    assert list(table.columns) == ["temperature", "rain_mm", "wet_share"]
    assert list(table.index) == list(expected["by_month"])
    for month, (temperature, rain, wet_share) in expected["by_month"].items():
        if fahrenheit:
            temperature = temperature * 1.8 + 32
        assert list(table.loc[month]) == pytest.approx(
            [temperature, rain, wet_share], rel=0, abs=ROUNDING
        )
    assert results["longest_dry_spell_days"] == expected["longest_dry_spell_days"]
    assert results["wettest_year"] == expected["wettest_year"]


def test_data_is_complete_and_in_order(days: list[dict[str, str]]) -> None:
    assert len(days) == 1461
    assert [day["date"] for day in days] == sorted({day["date"] for day in days})


def test_run(expected: dict[str, Any]) -> None:
    check(PipelineManager(ROOT).run("pipeline_1", additional_modules=["setup"]), expected)


async def test_run_async(expected: dict[str, Any]) -> None:
    results = await PipelineManager(ROOT).run_async("pipeline_1", additional_modules=["setup"])
    check(results, expected)


def test_settings_compose_the_same(expected: dict[str, Any]) -> None:
    check(PipelineManager(ROOT).run("pipeline_1"), expected)


async def test_config_chooses_the_unit(expected: dict[str, Any]) -> None:
    manager = PipelineManager(ROOT)
    config = {"temperature_unit": "fahrenheit"}
    check(manager.run("pipeline_1", config=config), expected, fahrenheit=True)
    check(await manager.run_async("pipeline_1", config=config), expected, fahrenheit=True)


async def test_config_key_may_be_absent(expected: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    manager = PipelineManager(tmp_path)
    check(manager.run("pipeline_1", additional_modules=["setup"]), expected)
    check(await manager.run_async("pipeline_1", additional_modules=["setup"]), expected)


def test_any_current_folder(
    expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check(PipelineManager(ROOT).run("pipeline_1", additional_modules=["setup"]), expected)


def test_main_module_wins_over_setup() -> None:
    manager = PipelineManager(ROOT)
    assert manager.run("pipeline_1", final_vars=["wet_day_mm"]) == {"wet_day_mm": 1.0}
    assert manager.run("setup", final_vars=["wet_day_mm"]) == {"wet_day_mm": 0.1}
