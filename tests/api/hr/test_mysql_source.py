"""HR's own database on a MySQL server: read in pages, with a time limit, and never written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.people.hr.reading.pages import PAGE_ROWS, Page
from server.people.hr.reading.sql_rows import sql_pages
from server.people.hr.refusals import QueryFailed
from tests.peers.fixtures import mariadb
from tests.peers.mariadb import MariaDb

__all__ = ["mariadb"]

ROWS = PAGE_ROWS + 1


class Hr:
    """HR's database, and who may read it."""

    def __init__(self, mariadb: MariaDb, name: str, folder: Path) -> None:
        self._mariadb, self._name, self._folder = mariadb, name, folder
        self.run(f"CREATE TABLE {name}.persons (gh INT PRIMARY KEY, xm VARCHAR(40), pay DECIMAL(10, 2), came DATE)")
        self.run(f"INSERT INTO {name}.persons SELECT seq, CONCAT('教师', seq, ' 100%'), 1.50, '2020-09-01' FROM {name}.numbers")

    def run(self, statement: str) -> list[Any]:
        return self._mariadb.run(statement)

    @property
    def rows(self) -> int:
        count: int = self.run(f"SELECT COUNT(*) FROM {self._name}.persons")[0][0]
        return count

    def read(self, query: str, timeout_s: float = 10) -> list[Page]:
        return list(sql_pages(self._folder, f"mysql://root@127.0.0.1:{self._mariadb.port}/{self._name}", query, timeout_s))


@pytest.fixture
def hr_database(mariadb: MariaDb, tmp_path: Path) -> Iterator[Hr]:
    with mariadb.database() as settings:
        name = settings["mysql_db"]
        numbers = ",".join(f"({number})" for number in range(ROWS))
        mariadb.run(f"CREATE TABLE {name}.numbers (seq INT PRIMARY KEY)")
        mariadb.run(f"INSERT INTO {name}.numbers VALUES {numbers}")
        yield Hr(mariadb, name, tmp_path)


def test_rows_come_in_pages_with_their_types(hr_database: Hr) -> None:
    pages = hr_database.read("SELECT gh AS employee_no, xm AS name, pay, came FROM persons WHERE xm LIKE '%100%' ORDER BY gh")
    assert [len(page.rows) for page in pages] == [PAGE_ROWS, 1]
    first = pages[0].rows[0]
    assert (first["employee_no"], first["name"], first["pay"], first["came"].isoformat()) == (0, "教师0 100%", "1.50", "2020-09-01")


@pytest.mark.parametrize(
    "statement", ["DELETE FROM persons", "UPDATE persons SET xm = ''", "DROP TABLE persons", "INSERT INTO persons (gh) VALUES (-1)"]
)
def test_nothing_can_be_written_even_past_the_check(hr_database: Hr, statement: str) -> None:
    with pytest.raises(QueryFailed):
        hr_database.read(statement)
    assert hr_database.rows == ROWS


def test_a_query_that_takes_too_long_is_ended_by_the_server(hr_database: Hr) -> None:
    with pytest.raises(QueryFailed, match="max_statement_time"):
        hr_database.read("SELECT COUNT(*) FROM persons a, persons b, persons c, persons d", 0.3)


def test_a_wrong_password_is_told_without_it(hr_database: Hr, tmp_path: Path, mariadb: MariaDb) -> None:
    with pytest.raises(QueryFailed, match="Access denied") as failed:
        list(sql_pages(tmp_path, f"mysql://hr:topsecret@127.0.0.1:{mariadb.port}/hr", "SELECT 1", 5))
    assert "topsecret" not in str(failed.value)
