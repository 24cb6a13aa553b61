"""Daily Seattle weather: read, cleaned and split into columns, for any analysis to build on.

The observations are NOAA's and in the public domain; see `data/README.md`.
"""

import asyncio
from pathlib import Path

import pandas as pd
from hamilton.function_modifiers import extract_columns


def weather_file() -> Path:
    """The CSV file, wherever the process was started."""
    return Path(__file__).parent / "data" / "seattle-weather.csv"


async def raw_observations(weather_file: Path) -> pd.DataFrame:
    """The file as it is, read beside the event loop so that other nodes need not wait."""
    return await asyncio.to_thread(pd.read_csv, weather_file, parse_dates=["date"])


@extract_columns("year", "month", "precipitation", "temp_max", "temp_min")
def observations(raw_observations: pd.DataFrame) -> pd.DataFrame:
    """One row for each day, in order of time; millimetres and degrees Celsius."""
    # A second report of one day would count its rain twice.
    days = raw_observations.sort_values("date").drop_duplicates("date", keep="last")
    days = days.set_index("date")
    return days.assign(year=days.index.year, month=days.index.month)


def wet_day_mm() -> float:
    """How much rain makes a day wet: here, as much as a gauge can tell from none."""
    return 0.1


def is_wet(precipitation: pd.Series, wet_day_mm: float) -> pd.Series:
    """Whether a day was wet."""
    return precipitation >= wet_day_mm
