"""When it rains in Seattle, how warm it is then, and how long it stays dry.

Composed with `setup`; this module is loaded last, so its `wet_day_mm` wins. Config:
`temperature_unit`, "celsius" (also when it is not given) or "fahrenheit".
"""

import pandas as pd
from hamilton.function_modifiers import config


def wet_day_mm() -> float:
    """How much rain makes a day wet: 1 mm, as climatologists count."""
    return 1.0


@config.when(temperature_unit="fahrenheit")
def mean_temperature__fahrenheit(temp_max: pd.Series, temp_min: pd.Series) -> pd.Series:
    """Half-way between a day's highest and lowest temperature, in °F."""
    return (temp_max + temp_min) / 2 * 9 / 5 + 32


@config.when_not(temperature_unit="fahrenheit")
def mean_temperature__celsius(temp_max: pd.Series, temp_min: pd.Series) -> pd.Series:
    """Half-way between a day's highest and lowest temperature, in °C."""
    return (temp_max + temp_min) / 2


def by_month(
    month: pd.Series,
    mean_temperature: pd.Series,
    precipitation: pd.Series,
    is_wet: pd.Series,
) -> pd.DataFrame:
    """The average day of each month of the year."""
    days = pd.DataFrame(
        {"temperature": mean_temperature, "rain_mm": precipitation, "wet_share": is_wet}
    )
    return days.groupby(month).mean().round(2)


def dry_spell_days(is_wet: pd.Series) -> pd.Series:
    """For each day, how many dry days in a row it ends; 0 for a wet one."""
    wet_days_so_far = is_wet.cumsum()
    return (~is_wet).groupby(wet_days_so_far).cumsum()


def longest_dry_spell_days(dry_spell_days: pd.Series) -> int:
    """The most days in a row without a wet one."""
    return int(dry_spell_days.max())


def rain_by_year(year: pd.Series, precipitation: pd.Series) -> pd.Series:
    """Millimetres of rain in each year."""
    return precipitation.groupby(year).sum()


def wettest_year(rain_by_year: pd.Series) -> str:
    """The year with the most rain, and how much that was."""
    return f"{rain_by_year.idxmax()}, with {rain_by_year.max():.0f} mm"
