"""A statement that HR's database is asked reads and does nothing else."""

from __future__ import annotations

import pytest

from server.people.hr.reading.sql_statement import wrong_statement


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM persons",
        "  select gh AS employee_no, replace(xm, ' ', '') AS name FROM t WHERE note <> 'delete; drop';",
        "WITH a AS (SELECT 1 AS x) SELECT x FROM a",
        'SELECT `update`, "into" FROM t -- delete\n WHERE a = 1',
        "(SELECT 1) UNION (SELECT 2)",
        "SELECT 'it''s' /* insert */ FROM t",
        "SELECT deleted_at, last_update, created FROM t",
    ],
)
def test_one_that_only_reads_is_taken(statement: str) -> None:
    assert wrong_statement(statement) is None


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "DELETE FROM t",
        "SELECT 1; DROP TABLE t",
        "WITH a AS (SELECT 1) DELETE FROM t",
        "SELECT * FROM t INTO OUTFILE '/tmp/x'",
        "SELECT 5--1 INTO OUTFILE '/tmp/x'",
        "SELECT 1 /*! INTO OUTFILE '/tmp/x' */",
        "SELECT 1 /*M! INTO OUTFILE '/tmp/x' */",
        "SELECT '\\' INTO OUTFILE '/tmp/x' -- '",
        "SELECT load_file('/etc/passwd')",
        "SELECT sleep(1000)",
        "SELECT * FROM t FOR UPDATE",
        "PRAGMA table_info(t)",
        "ATTACH 'x' AS y",
        "EXPLAIN SELECT 1",
        "REPLACE INTO t VALUES (1)",
    ],
)
def test_any_other_is_refused(statement: str) -> None:
    assert wrong_statement(statement) is not None
