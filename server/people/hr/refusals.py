"""Why a snapshot is not taken: each doubt about what HR says has a name and a sentence, and ends the run before anything is written."""

from __future__ import annotations

from server.errors import Conflict
from server.messages import Text, text

WHAT = {"person": "hr.source.what_person", "department": "hr.source.what_department"}


class SnapshotRefused(Conflict):
    """What HR says cannot be trusted to be whole and right."""

    type = "hr_source_unclear"


class SourceAway(SnapshotRefused):
    """It does not answer, or not in time, or with an error; `detail` says which."""

    type = "hr_source_away"


class SourceRefused(SnapshotRefused):
    """It does not let us in."""

    type = "hr_source_refused"


class SourceNotJson(SnapshotRefused):
    """The answer is no JSON, or JSON of another form; `detail` says what was found."""

    type = "hr_source_not_json"


class PageMismatch(SnapshotRefused):
    """The pages do not add up to the total, or the total changed between pages."""

    type = "hr_source_page_mismatch"


class PageRepeated(SnapshotRefused):
    """The same page, or the same cursor, came twice."""

    type = "hr_source_page_repeated"


class SourceEmpty(SnapshotRefused):
    """No rows at all."""

    type = "hr_source_empty"


class RowsTwice(SnapshotRefused):
    """One key with two different rows."""

    type = "hr_source_duplicate"


class RowsIncomplete(SnapshotRefused):
    """A row lacks what it cannot be without; `where` and `field` name it."""

    type = "hr_source_incomplete"


class EncodingUnclear(SnapshotRefused):
    """The text is in another encoding than it should be."""

    type = "hr_source_encoding"


class DepartmentCycle(SnapshotRefused):
    """A department is above itself."""

    type = "hr_source_cycle"


class SourceTooLarge(SnapshotRefused):
    """More than we take: `limit` says how much that is."""

    type = "hr_source_too_large"


class FileUnusable(SnapshotRefused):
    """No file, one that is still being written, or one of the wrong kind; `why` says which."""

    type = "hr_source_file"


class QueryFailed(SnapshotRefused):
    """The database does not answer the query; `detail` are its words."""

    type = "hr_source_query"


def bad_row(what: str, number: int, field: str, why: Text) -> RowsIncomplete:
    """The refusal of one row; `what` is person or department, rows are counted from 1."""
    return RowsIncomplete(what=text(WHAT[what]), row=number, field=field, why=why)
