"""The project that is measured: pandas, two modules, eleven nodes, and a constant to change."""

from __future__ import annotations

import csv
import random
from pathlib import Path

NODE = "total_revenue"
PIPELINE = "report"
_ROWS = 5_000

_ORDERS_PY = '''\
"""Orders, read and cleaned."""

from pathlib import Path

import pandas as pd


def orders_file() -> Path:
    return Path(__file__).parent.parent / "orders.csv"


def orders(orders_file: Path) -> pd.DataFrame:
    return pd.read_csv(orders_file, parse_dates=["day"])


def clean_orders(orders: pd.DataFrame) -> pd.DataFrame:
    return orders.dropna().query("quantity > 0").drop_duplicates("order_id")


def month(clean_orders: pd.DataFrame) -> pd.Series:
    return clean_orders["day"].dt.strftime("%Y-%m")


def net_revenue(clean_orders: pd.DataFrame) -> pd.Series:
    return clean_orders["quantity"] * clean_orders["price"]
'''

_REPORT_PY = '''\
"""Revenue by month and by region."""

import pandas as pd

TAX_RATE = {rate}


def gross_revenue(net_revenue: pd.Series) -> pd.Series:
    return net_revenue * (1 + TAX_RATE)


def revenue_by_month(month: pd.Series, gross_revenue: pd.Series) -> pd.Series:
    return gross_revenue.groupby(month).sum().round(2)


def revenue_by_region(clean_orders: pd.DataFrame, gross_revenue: pd.Series) -> pd.DataFrame:
    table = clean_orders[["region"]].assign(revenue=gross_revenue)
    return table.groupby("region").agg(["count", "mean", "sum"]).round(2)


def growth(revenue_by_month: pd.Series) -> pd.Series:
    return revenue_by_month.pct_change().dropna().round(4)


def best_month(revenue_by_month: pd.Series) -> str:
    return str(revenue_by_month.idxmax())


def total_revenue(gross_revenue: pd.Series) -> float:
    return round(float(gross_revenue.sum()), 2)
'''

_RUN_PY = """\
from hamilton import driver
from pipelines import orders, report

dataflow = driver.Builder().with_modules(orders, report).build()
results = dataflow.execute(["revenue_by_region", "growth", "best_month", "total_revenue"])
for name, value in results.items():
    print(name, value, flush=True)
"""

_DEVSERVER_TOML = """\
[server]
web = {web}

[pipelines.report]
with = ["orders"]
"""


class MeasuredProject:
    """One copy of the project in a folder of its own.

    Args:
        root: the folder; it is created.
        has_page: whether its daemon serves the live page.

    Attributes:
        step: how many changes have been made.
    """

    def __init__(self, root: Path, has_page: bool = False) -> None:
        self.root = root
        self.step = 0
        (root / "pipelines").mkdir(parents=True)
        (root / "pipelines" / "orders.py").write_text(_ORDERS_PY, encoding="utf-8")
        (root / "run.py").write_text(_RUN_PY, encoding="utf-8")
        settings = _DEVSERVER_TOML.format(web=str(has_page).lower())
        (root / "devserver.toml").write_text(settings, encoding="utf-8")
        self._net_revenue = _write_orders(root / "orders.csv")
        self._write()

    def change(self) -> None:
        """Save the main module with another constant, in place as most editors do."""
        self.step += 1
        self._write()

    def shows_new_value(self, text: str) -> bool:
        """Whether `text` is the value that `NODE` has since the last change."""
        try:
            value = float(text)
        except ValueError:
            return False
        # Sums in another order differ in the last cent; two steps differ by thousands.
        return abs(value - self._net_revenue * (1 + float(self._rate))) < 0.02

    @property
    def _rate(self) -> str:
        # Python takes a save of the same size within a second for none, so sizes alternate.
        return f"{0.05 + 0.003 * self.step:.{3 + self.step % 2}f}"

    def _write(self) -> None:
        text = _REPORT_PY.format(rate=self._rate)
        (self.root / "pipelines" / "report.py").write_text(text, encoding="utf-8")


def _write_orders(file: Path) -> float:
    """Write the orders, the same ones each time, and return their revenue before tax."""
    dice = random.Random(20120101)
    total = 0.0
    with file.open("w", newline="", encoding="utf-8") as output:
        writer = csv.writer(output)
        writer.writerow(["order_id", "day", "region", "quantity", "price"])
        for order_id in range(_ROWS):
            day = f"{dice.randint(2022, 2024)}-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
            region = dice.choice(["north", "east", "south", "west"])
            quantity = dice.randint(0, 20)
            price = "" if dice.random() < 0.02 else f"{dice.uniform(1, 200):.2f}"
            writer.writerow([order_id, day, region, quantity, price])
            total += quantity * float(price or 0)
    return total
