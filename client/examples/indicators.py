"""Indicators of a price series: moving averages, relative strength, volatility, drawdown. Pure functions of lists of floats."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

# Trading days a year, the usual figure for annualizing (Hull, section 15.4).
TRADING_DAYS = 252


def sma(closes: Sequence[float], days: int) -> float | None:
    """Simple moving average of the last `days` closes, in the unit of the price; None for a shorter series.

    Source: J. J. Murphy, Technical Analysis of the Financial Markets, 1999, chapter 9.
    """
    check_days(days)
    return math.fsum(closes[-days:]) / days if len(closes) >= days else None


def ema(closes: Sequence[float], days: int) -> float | None:
    """Exponential moving average with weight 2 / (days + 1), begun at the SMA of the first `days`; None for a shorter series.

    Source: J. J. Murphy, Technical Analysis of the Financial Markets, 1999, chapter 9.
    """
    check_days(days)
    if len(closes) < days:
        return None
    weight = 2 / (days + 1)
    average = math.fsum(closes[:days]) / days
    for close in closes[days:]:
        average += weight * (close - average)
    return average


def rsi(closes: Sequence[float], days: int = 14) -> float | None:
    """Relative strength index, 0 to 100, with Wilder's smoothing; None for fewer than `days` + 1 closes.

    The first averages are plain means of the first `days` gains and losses; each later one is (previous × (days − 1) + new) / days.
    A series without losses has 100, one without any change 50.
    Source: J. W. Wilder, New Concepts in Technical Trading Systems, 1978, section VI.
    """
    check_days(days)
    if len(closes) <= days:
        return None
    changes = [after - before for before, after in itertools.pairwise(closes)]
    gain = math.fsum(max(change, 0.0) for change in changes[:days]) / days
    loss = math.fsum(max(-change, 0.0) for change in changes[:days]) / days
    for change in changes[days:]:
        gain = (gain * (days - 1) + max(change, 0.0)) / days
        loss = (loss * (days - 1) + max(-change, 0.0)) / days
    if loss == 0:
        return 50.0 if gain == 0 else 100.0
    return 100 - 100 / (1 + gain / loss)


def annualized_volatility(closes: Sequence[float]) -> float | None:
    """Sample standard deviation of daily log returns times √252, as a fraction a year; None for fewer than three closes.

    Source: J. C. Hull, Options, Futures, and Other Derivatives, section 15.4 (estimating volatility from historical data).
    """
    if len(closes) < 3:
        return None
    returns = [math.log(after / before) for before, after in itertools.pairwise(closes)]
    return statistics.stdev(returns) * math.sqrt(TRADING_DAYS)


def max_drawdown(closes: Sequence[float]) -> float:
    """The largest fall from a peak to a later low, as a fraction of the peak, 0 to 1; 0 for a series that never falls.

    Source: M. Magdon-Ismail and A. Atiya, Maximum Drawdown, Risk 17 (10), 2004.
    """
    peak, worst = -math.inf, 0.0
    for close in closes:
        peak = max(peak, close)
        worst = max(worst, (peak - close) / peak)
    return worst


def check_days(days: int) -> None:
    """Raises ValueError unless `days` is at least 1."""
    if days < 1:
        raise ValueError(f"days: must be at least 1, not {days}")
