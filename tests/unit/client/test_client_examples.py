"""The demo modules compute what a hand computes, and the inherited example clients speak the inherited protocol."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import indicators_module
import prices_module
import pytest
from fake_module_server import FakeServer
from indicators import annualized_volatility, ema, max_drawdown, rsi, sma
from module_serving import Serving

CLIENT = Path(__file__).resolve().parents[3] / "client"


def test_moving_averages() -> None:
    assert sma([1, 2, 3, 4, 5], 3) == 4
    assert sma([1, 2], 3) is None
    # begun at (2 + 4 + 6) / 3 = 4, weight 1/2: 4 → 6 → 9
    assert ema([2, 4, 6, 8, 12], 3) == pytest.approx(9)
    assert ema([1, 2], 3) is None
    with pytest.raises(ValueError, match="days"):
        sma([1, 2], 0)


def test_relative_strength_is_smoothed_as_wilder_does() -> None:
    # gains 2, 0, 2, 0 and losses 0, 1, 0, 1 over 2 days: 1/0.5 → 1.5/0.25 → 0.75/0.625, so 100 − 100/2.2
    assert rsi([10, 12, 11, 13, 12], 2) == pytest.approx(54.5454545)
    # 14 days: gains 3.34, losses 1.40, so 100 − 100/(1 + 3.34/1.40)
    closes = [44.34, 44.09, 44.15, 43.61, 44.33, 44.83, 45.10, 45.42, 45.84, 46.08, 45.89, 46.03, 45.61, 46.28, 46.28]
    assert rsi(closes) == pytest.approx(70.4641, abs=1e-4)
    assert rsi(closes[:14]) is None
    assert rsi([1, 2, 3, 4], 3) == 100
    assert rsi([4, 3, 2, 1], 3) == 0
    assert rsi([2, 2, 2, 2], 3) == 50


def test_volatility_and_drawdown() -> None:
    # ln 1.1 = 0.0953102 and ln 0.9 = −0.1053605: deviation 0.1418956, times √252 = 15.8745
    assert annualized_volatility([100, 110, 99]) == pytest.approx(2.25252, abs=1e-4)
    assert annualized_volatility([100, 110]) is None
    assert max_drawdown([100, 120, 90, 130, 117]) == pytest.approx(0.25)
    assert max_drawdown([1, 2, 3]) == 0
    assert max_drawdown([]) == 0


def test_the_bundled_prices_are_whole_and_plausible() -> None:
    rows = prices_module.read_prices()
    symbols = {row["symbol"]: row["name"] for row in rows}
    assert len(symbols) == 6
    assert len(rows) == 6 * 250
    assert "星河能源" in symbols.values()
    assert all(0 < row["low"] <= min(row["open"], row["close"]) <= max(row["open"], row["close"]) <= row["high"] for row in rows)
    for symbol in symbols:
        series = [row for row in rows if row["symbol"] == symbol]
        assert [row["date"] for row in series] == sorted({row["date"] for row in series})
        assert all(abs(after["close"] / before["close"] - 1) < 0.11 for before, after in itertools.pairwise(series))


@pytest.mark.parametrize("window", [2, 30, 59, 60, 100, 200])
@pytest.mark.parametrize("interval_s", [1, 10, 60, 600, 3600, 86400])
def test_every_run_sees_another_window(window: int, interval_s: int) -> None:
    first = datetime(2026, 11, 20, 10, 0)
    starts = [prices_module.window_start(first + timedelta(seconds=interval_s * run), 250, window) for run in range(20)]
    assert all(before != after for before, after in itertools.pairwise(starts))
    assert all(0 <= start <= 250 - window for start in starts)


@pytest.mark.gen_test(timeout=30)
async def test_prices_flow_into_indicators(server: FakeServer, serve: Serving) -> None:
    serve(prices_module.run, name="prices", outputs=prices_module.module.declaration.outputs)
    first = await server.socket(1)
    first.execute(1, args={"symbols": ["ZH0002", "ZH0005"], "window": 30})
    prices = (await server.frame("result", step_id="step-1"))["output"]
    assert len(prices["stock_price"]) == 60
    assert {row["symbol"] for row in prices["stock_price"]} == {"ZH0002", "ZH0005"}
    first.execute(2, args={"symbols": ["NONE"]})
    assert "NONE" in (await server.frame("result", step_id="step-2", status="failure"))["error"]
    first.execute(3, args={"window": 1000})
    assert "window:" in (await server.frame("result", step_id="step-3", status="failure"))["error"]

    serve(indicators_module.run, name="indicators", outputs=indicators_module.module.declaration.outputs)
    second = await server.socket(2)
    second.execute(4, args=prices)
    table = (await server.frame("result", step_id="step-4", status="success"))["output"]["indicators"]
    assert [row["symbol"] for row in table] == ["ZH0002", "ZH0005"]
    closes = [row["close"] for row in prices["stock_price"] if row["symbol"] == "ZH0005"]
    assert table[1]["close"] == closes[-1]
    assert table[1]["sma"] == round(sum(closes[-20:]) / 20, 4)
    assert table[1]["days"] == 30
    assert (await server.frame("progress", step_id="step-4", percent=100))["fence"] == 1
    assert any("远山银行" in line for frame in server.of("log") for line in frame["lines"])
    second.execute(5, args={"stock_price": [{"symbol": "A", "date": "2024-01-02", "close": 0}]})
    assert "stock_price[0].close" in (await server.frame("result", step_id="step-5", status="failure"))["error"]


@pytest.mark.gen_test(timeout=60)
async def test_the_inherited_examples_register_connect_and_answer(server: FakeServer, tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ZHIHUI_")}
    address = f"127.0.0.1:{server.port}"

    def run_script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(CLIENT / name), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30)

    missing = await asyncio.to_thread(run_script, "client_connect.py", address)
    assert missing.returncode == 1
    assert "run register.py first" in missing.stderr
    registered = await asyncio.to_thread(run_script, "register.py", address)
    assert registered.returncode == 0
    assert (tmp_path / "module_hash.txt").read_text() == "inherited"
    assert set(server.registrations[0]) == {"name", "description", "input_data", "output_data", "modelHash"}
    connecting = asyncio.ensure_future(asyncio.to_thread(run_script, "client_connect.py", address))
    socket = await server.socket()
    socket.execute()
    result: dict[str, Any] = await server.frame("result")
    assert result == {
        "type": "result",
        "status": "success",
        "workflow_id": "7",
        "workflow_name": "日报",
        "module_name": "example_module",
        "error": "",
        "message": "executed for 2024-01-01T10:00:00",
    }
    socket.drain()
    socket.close(1012)
    done = await connecting
    assert done.returncode == 0
    assert "receive result" in done.stdout
    assert "1012" in done.stdout
