"""A season of a university: a call for projects, from the first proposal to the archive, as forty people live it."""

from __future__ import annotations

import pytest

# Before the chapters are imported, so that what does not hold is shown with what there was instead.
pytest.register_assert_rewrite(
    *(f"{__name__}.{chapter}" for chapter in ("people", "ears", "proposals", "reviewing", "scoring", "students", "closing"))
)
