"""A module that gives daily prices: a window of a bundled series that moves on with each execution time.

    python prices_module.py

The series in prices.csv is synthetic: a seeded random walk of six companies that do not exist, on the trading days of 2024.
Arguments: `symbols` (default all), `window` in trading days (default 60).
"""

from __future__ import annotations

import csv
import math
from datetime import datetime
from pathlib import Path
from typing import Any

from zhihui_module import Module, Task

PRICES = Path(__file__).with_name("prices.csv")
DEFAULT_WINDOW = 60

Row = dict[str, Any]

module = Module(
    "prices",
    description="Daily prices of six synthetic companies (合成行情)",
    model_hash="prices-v1",
    inputs=[
        {"name": "symbols", "type": "array", "required": False, "description": "symbols such as ZH0001; all when left out"},
        {"name": "window", "type": "number", "required": False, "description": "trading days, 2 to 250; 60 when left out"},
    ],
    outputs=[{"name": "stock_price", "type": "table", "description": "symbol, name, date, open, high, low, close, volume"}],
)


def read_prices(path: Path = PRICES) -> list[Row]:
    """Every row of the file, by date and symbol; prices in yuan, volume in shares."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {
                **row,
                **{column: float(row[column]) for column in ("open", "high", "low", "close")},
                "volume": int(row["volume"]),
            }
            for row in csv.DictReader(file)
        ]


def window_start(when: datetime, days: int, window: int) -> int:
    """The first day of the window for an execution time, from 0.

    The window moves with each second of the clock and wraps round after a prime number of places: the intervals of schedules are
    made of twos, threes and fives, so no usual interval ever lands on the same place twice running.
    """
    places = days - window + 1
    wrap = next((number for number in range(places, 6, -1) if _is_prime(number)), places)
    began = datetime(2024, 1, 1)  # noqa: DTZ001 (execution times have no offset)
    return int((when - began).total_seconds()) % wrap


def check_window(value: Any, days: int) -> int:
    """The window in days. Raises ValueError naming the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not float(value).is_integer() or not 2 <= value <= days:
        raise ValueError(f"window: must be a whole number from 2 to {days}, not {value!r}")
    return int(value)


def check_symbols(value: Any, known: list[str]) -> list[str]:
    """The symbols asked for. Raises ValueError naming those that are not known."""
    if value is None:
        return known
    if not isinstance(value, list) or not value:
        raise ValueError("symbols: must be an array that is not empty")
    unknown = [str(symbol) for symbol in value if symbol not in known]
    if unknown:
        raise ValueError(f"symbols: not known: {', '.join(unknown)}; known are {', '.join(known)}")
    return value


@module.handler
def run(task: Task) -> dict[str, list[Row]]:
    """The rows of the window, symbol by symbol."""
    rows = read_prices()
    dates = sorted({row["date"] for row in rows})
    symbols = check_symbols(task.args.get("symbols"), sorted({row["symbol"] for row in rows}))
    window = check_window(task.args.get("window", DEFAULT_WINDOW), len(dates))
    start = window_start(task.meta.when.replace(tzinfo=None), len(dates), window)
    chosen = set(dates[start : start + window])
    task.log(f"window of {window} days: {min(chosen)} to {max(chosen)}")
    table: list[Row] = []
    for number, symbol in enumerate(symbols, start=1):
        task.raise_if_cancelled()
        series = [row for row in rows if row["symbol"] == symbol and row["date"] in chosen]
        table.extend(series)
        task.log(f"{symbol} {series[-1]['name']}: {len(series)} days, last close {series[-1]['close']:.2f}")
        task.progress(100 * number / len(symbols), symbol)
    return {"stock_price": table}


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


if __name__ == "__main__":
    module.run()
