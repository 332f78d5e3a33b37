"""A module that computes indicators, one row a symbol, from the table that a prices module gives.

    python indicators_module.py

Arguments: `stock_price` (from an earlier step), `average_days` (default 20), `rsi_days` (default 14).
"""

from __future__ import annotations

import math
from typing import Any

from indicators import annualized_volatility, ema, max_drawdown, rsi, sma

from zhihui_module import Module, Task

Row = dict[str, Any]

module = Module(
    "indicators",
    description="Moving averages, RSI, volatility and drawdown per symbol (技术指标)",
    model_hash="indicators-v1",
    inputs=[
        {"name": "stock_price", "type": "table", "description": "rows with symbol, date and close"},
        {"name": "average_days", "type": "number", "required": False, "description": "days of the moving averages; 20 when left out"},
        {"name": "rsi_days", "type": "number", "required": False, "description": "days of the RSI; 14 when left out"},
    ],
    outputs=[{"name": "indicators", "type": "table", "description": "one row a symbol, as `summarize` makes it"}],
)


def group_by_symbol(rows: Any) -> dict[str, list[Row]]:
    """The rows of each symbol in order of date. Raises ValueError naming the row and the column that is wrong."""
    if not isinstance(rows, list) or not rows:
        raise ValueError("stock_price: must be a table with rows")
    series: dict[str, list[Row]] = {}
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not isinstance(row.get("symbol"), str) or not isinstance(row.get("date"), str):
            raise ValueError(f"stock_price[{number}]: needs a symbol and a date")
        close = row.get("close")
        if isinstance(close, bool) or not isinstance(close, (int, float)) or not math.isfinite(close) or close <= 0:
            raise ValueError(f"stock_price[{number}].close: must be a price above 0, not {close!r}")
        series.setdefault(row["symbol"], []).append(row)
    for ordered in series.values():
        ordered.sort(key=lambda row: row["date"])
    return series


def check_days(name: str, value: Any) -> int:
    """A number of days. Raises ValueError naming the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not float(value).is_integer() or value < 1:
        raise ValueError(f"{name}: must be a whole number from 1, not {value!r}")
    return int(value)


def summarize(symbol: str, rows: list[Row], average_days: int, rsi_days: int) -> Row:
    """One symbol's indicators at its last day; what the series is too short for is None."""
    closes = [float(row["close"]) for row in rows]
    return {
        "symbol": symbol,
        "name": rows[-1].get("name", symbol),
        "date": rows[-1]["date"],
        "days": len(closes),
        "close": closes[-1],
        "sma": _rounded(sma(closes, average_days)),
        "ema": _rounded(ema(closes, average_days)),
        "rsi": _rounded(rsi(closes, rsi_days), 2),
        "volatility": _rounded(annualized_volatility(closes)),
        "max_drawdown": _rounded(max_drawdown(closes)),
    }


@module.handler
def run(task: Task) -> dict[str, list[Row]]:
    """One row of indicators for each symbol of the table."""
    average_days = check_days("average_days", task.args.get("average_days", 20))
    rsi_days = check_days("rsi_days", task.args.get("rsi_days", 14))
    series = group_by_symbol(task.args.get("stock_price"))
    table: list[Row] = []
    for number, (symbol, rows) in enumerate(series.items(), start=1):
        task.raise_if_cancelled()
        row = summarize(symbol, rows, average_days, rsi_days)
        table.append(row)
        task.log(f"{symbol} {row['name']}: SMA{average_days} {row['sma']}, RSI{rsi_days} {row['rsi']}, volatility {row['volatility']}")
        if row["rsi"] is None or row["sma"] is None:
            task.log(f"{symbol}: {row['days']} days are too few for every indicator", level="warning")
        task.progress(100 * number / len(series), symbol)
    return {"indicators": table}


def _rounded(value: float | None, places: int = 4) -> float | None:
    return None if value is None else round(value, places)


if __name__ == "__main__":
    module.run()
