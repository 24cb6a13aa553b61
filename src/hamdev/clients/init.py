"""`hamdev init`: a new project with one example, small enough to be replaced."""

from __future__ import annotations

from pathlib import Path

from hamdev.errors import SettingsError

_SETTINGS = """\
# Settings of this project. Every key is optional; a command line option wins.

[server]
log_level = "INFO"          # DEBUG INFO WARNING ERROR CRITICAL

[watch]
data = []                   # further files whose change reruns their readers: ["data/**/*.csv"]

[pipelines.example]         # the main module: pipelines/example.py
with = []                   # additional modules; loaded before the main module, which wins
final_vars = []             # the nodes wanted; empty: every leaf
inputs = { minimum = 10.0 } # what no function computes; try: hamdev run example --input minimum=50
config = { }                # for @config.when
"""

_EXAMPLE = '''\
"""Each function is a node; its parameters name the nodes it needs.

Keep `hamdev watch` running in one terminal, change a function here, and save.
"""

import pandas as pd


def orders() -> pd.DataFrame:
    """What was ordered, one line for each; the third one has no price."""
    return pd.DataFrame(
        {
            "city": ["Oslo", "Lima", "Oslo", "Pune", "Lima", "Pune"],
            "price": [12.5, 80.0, None, 9.0, 42.0, 30.5],
        }
    )


def clean_orders(orders: pd.DataFrame, minimum: float) -> pd.DataFrame:
    """The orders that count: with a price, and of at least `minimum`."""
    priced = orders.dropna(subset=["price"])
    return priced[priced["price"] >= minimum].reset_index(drop=True)


def revenue_by_city(clean_orders: pd.DataFrame) -> pd.Series:
    """The revenue in each city, highest first."""
    return clean_orders.groupby("city")["price"].sum().sort_values(ascending=False)


def total(clean_orders: pd.DataFrame) -> float:
    """The revenue of all cities."""
    return float(clean_orders["price"].sum())
'''

_FILES = {"devserver.toml": _SETTINGS, "pipelines/example.py": _EXAMPLE}


def create_project(folder: Path) -> list[Path]:
    """The files of a new project, just written.

    Args:
        folder: the project's; it is made if need be.

    Raises:
        SettingsError: some of the files are there already; then none has been written.
    """
    files = {folder / name: text for name, text in _FILES.items()}
    existing = [str(file) for file in files if file.exists() or file.is_symlink()]
    if existing:
        raise SettingsError(
            None,
            [
                f"not overwritten, since it is already there: {', '.join(map(repr, existing))}. "
                "Way out: choose another folder, as in 'hamdev init demo'."
            ],
        )
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    return list(files)
