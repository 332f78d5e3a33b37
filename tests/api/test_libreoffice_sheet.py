"""A sheet of users as LibreOffice writes it, imported."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from server.context import Context
from tests.api.client import Api
from tests.api.people import organization
from tests.api.test_user_import import TITLES, send

LIMIT_S = 120
ROWS = [["zhang", "张三", "zhang@x.cn", "physics", "teacher", "人员"], ["0042", "李四", "li@x.cn", "physics", "student", ""]]


async def converted(office: str, folder: Path) -> bytes:
    """The rows as a CSV, made an xlsx by LibreOffice with a profile of its own; texts stay texts, as in a sheet that people keep."""
    source = folder / "users.csv"
    source.write_text("\n".join(",".join(f'"{cell}"' for cell in row) for row in [TITLES, *ROWS]), encoding="utf-8")
    # Comma, quotes, UTF-8, from the first line; quoted fields are text, and nothing is taken for a number.
    read_as = "CSV:44,34,76,1,,0,true,false"
    process = await asyncio.create_subprocess_exec(
        office,
        f"-env:UserInstallation=file://{folder}/profile",
        "--headless",
        f"--infilter={read_as}",
        "--convert-to",
        "xlsx:Calc MS Excel 2007 XML",
        "--outdir",
        str(folder / "out"),
        str(source),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    made = folder / "out" / "users.xlsx"
    assert made.exists(), said.decode(errors="replace")
    return made.read_bytes()


@pytest.mark.gen_test(timeout=180)
async def test_a_sheet_that_libreoffice_has_written_is_imported(api: Api, ctx: Context, tmp_path: Path) -> None:
    office = shutil.which("soffice") or shutil.which("libreoffice")
    if office is None:
        pytest.skip("LibreOffice is not installed: its sheets are not looked at")
    await organization(ctx, "physics")
    report = (await send(api, await converted(office, tmp_path))).result
    assert [(row["action"], row["username"], row["errors"]) for row in report["rows"]] == [("create", "zhang", []), ("create", "0042", [])]
