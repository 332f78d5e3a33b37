"""HR's own database: read in pages, never written, and not for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from server.people.hr.reading.pages import PAGE_ROWS
from server.people.hr.reading.sql_rows import sql_pages
from server.people.hr.refusals import FileUnusable, QueryFailed

DSN = "sqlite:///hr.db"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'hr.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE persons (gh INTEGER, xm TEXT, pay DECIMAL)")
        rows = [{"gh": number, "xm": f"教师{number} 100%"} for number in range(PAGE_ROWS + 1)]
        connection.execute(sa.text("INSERT INTO persons (gh, xm) VALUES (:gh, :xm)"), rows)
    engine.dispose()
    return tmp_path


def test_rows_come_in_pages_by_the_names_of_the_columns(folder: Path) -> None:
    pages = list(sql_pages(folder, DSN, "SELECT gh AS employee_no, xm AS name FROM persons WHERE xm LIKE '%100%' ORDER BY gh;", 10))
    assert [len(page.rows) for page in pages] == [PAGE_ROWS, 1]
    assert pages[0].rows[0] == {"employee_no": 0, "name": "教师0 100%"}


@pytest.mark.parametrize("statement", ["DELETE FROM persons", "CREATE TABLE x (a)", "ATTACH '{folder}/other.db' AS other"])
def test_nothing_can_be_written_even_past_the_check(folder: Path, statement: str) -> None:
    before = (folder / "hr.db").read_bytes()
    with pytest.raises(QueryFailed):
        list(sql_pages(folder, DSN, statement.format(folder=folder), 10))
    assert (folder / "hr.db").read_bytes() == before
    assert not (folder / "other.db").exists()


def test_a_query_without_end_is_ended(folder: Path) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    with pytest.raises(QueryFailed, match="interrupted"):
        list(sql_pages(folder, DSN, endless, 0.2))


def test_a_wrong_query_is_told_in_the_databases_words(folder: Path) -> None:
    with pytest.raises(QueryFailed, match="no such table: people"):
        list(sql_pages(folder, DSN, "SELECT * FROM people", 10))


@pytest.mark.parametrize("dsn", ["sqlite:///none.db", "sqlite:///../zhihui.db", "sqlite:////etc/passwd"])
def test_no_other_file_is_opened(folder: Path, dsn: str) -> None:
    with pytest.raises(FileUnusable):
        list(sql_pages(folder / ".", dsn, "SELECT 1", 10))


def test_a_server_that_is_not_there_is_told_without_the_password(folder: Path) -> None:
    with pytest.raises(QueryFailed) as failed:
        list(sql_pages(folder, "mysql://hr:topsecret@127.0.0.1:1/hr", "SELECT 1", 5))
    assert "topsecret" not in str(failed.value)
