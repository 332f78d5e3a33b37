"""The two inherited example scripts, started as a stranger would start them, from a copy of client/ and by another interpreter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.waiting import until
from tests.integration.api_client import Api
from tests.integration.house import PASSWORD
from tests.integration.running_server import ROOT, RunningServer
from tests.peers.process import spawn

pytestmark = pytest.mark.integration


@pytest.mark.gen_test(timeout=120)
@pytest.mark.holds_loop  # processes are started from it
async def test_a_workflow_runs_on_the_inherited_examples(tmp_path: Path) -> None:
    client = tmp_path / "client"
    shutil.copytree(ROOT / "client", client, ignore=shutil.ignore_patterns("__pycache__"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ZHIHUI", "PYTHON"))}
    with RunningServer(tmp_path / "data", admin_password=PASSWORD) as server:
        environment = {**kept, "ZHIHUI_ADDRESS": f"127.0.0.1:{server.port}"}
        said = subprocess.run([sys.executable, "register.py"], cwd=client, env=environment, capture_output=True, text=True, timeout=60)
        assert said.returncode == 0, said.stderr
        module = (client / "module_hash.txt").read_text()
        output = tmp_path / "said.txt"
        with output.open("w") as file:
            process = spawn([sys.executable, "client_connect.py"], cwd=client, env=environment, stdout=file, stderr=file)
        api = Api(server.url, PASSWORD)
        try:

            async def online() -> bool:
                return module in await api.online()

            await until(online)
            workflow = await api.workflow("on the examples", [{"module_hash": module, "args": {"n": 1}}], overlap="parallel")
            for _ in range(3):
                run = await api.ended(await api.execute(workflow))
                assert run["state"] == "succeeded"
                assert run["steps"][0]["message"] == f"executed for {run['execution_time']}"
            await api.post("/module/send_message", {"module_hash": module, "message": "hello"})
            await until(lambda: "received: hello" in output.read_text())
            assert output.read_text().count("received: receive result") == 3
        finally:
            api.close()
            process.terminate()
            process.wait(20)
