"""Strange: what about a change a reader of the plan should look at first."""

from __future__ import annotations

from server.people.hr.person_row import PersonRow, problems_of

MAIL_TWICE = "mail_twice"  # several rows have this mail address
OTHER_PERSON = "other_person"  # name and mail differ: the employee number may have been given to somebody else
PRIVILEGED = "privileged"  # the account administers everything
BREAK_GLASS = "break_glass"  # an account that HR must never touch
STALE = "stale"  # what it was planned for has changed since
ADOPTED = "adopted"  # the account was there before HR named the person


def of_newcomer(row: PersonRow, *, mail_twice: bool) -> list[str]:
    """Of a person whom we did not know."""
    return [*_problems(row), *([MAIL_TWICE] if mail_twice else [])]


def of_change(old: PersonRow, new: PersonRow) -> list[str]:
    """Of a person whose row has changed, or who has come back."""
    found = _problems(new)
    if old.name != new.name and old.email is not None and (old.email or "").casefold() != (new.email or "").casefold():
        found.append(OTHER_PERSON)
    return found


def _problems(row: PersonRow) -> list[str]:
    """What of the row could not be taken, as `unusable:field`."""
    return [f"unusable:{name}" for name in problems_of(row)]
