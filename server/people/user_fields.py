"""What a user name and a mail address must be, and whether another account has them."""

from __future__ import annotations

import re
from typing import NamedTuple

import sqlalchemy as sa

from server.errors import Fields
from server.messages import Text, text
from server.people.tables import users

_MAIL = re.compile(r"[^@\s,;:<>()\[\]\\\"]+@[^@\s,;:<>()\[\]\\\"]+\.[^@\s.,;:<>()\[\]\\\"]+")
LONGEST_USERNAME = 150
LONGEST_NAME = 190
LONGEST_EMAIL = 254


class Keys(NamedTuple):
    """A user name and a mail address as they are compared."""

    username: str
    email: str | None


def keys_of(username: str, email: str | None) -> Keys:
    return Keys(username.casefold(), email.casefold() if email else None)


def wrong_username(username: str) -> Text | None:
    """Why it cannot be a user name; None when it can."""
    if not username:
        return text("field.empty")
    if len(username) > LONGEST_USERNAME or len(username.casefold()) > LONGEST_USERNAME:
        return text("field.too_long", limit=LONGEST_USERNAME)
    if not username.isprintable() or any(letter.isspace() for letter in username):
        return text("users.username_letters")
    return None


def wrong_name(name: str) -> Text | None:
    """Why it cannot be a person's name; None when it can."""
    if len(name) > LONGEST_NAME:
        return text("field.too_long", limit=LONGEST_NAME)
    return None if name.isprintable() else text("users.name_letters")


def wrong_email(email: str) -> Text | None:
    """Why it cannot be a mail address; None when it can."""
    if len(email) > LONGEST_EMAIL or len(email.casefold()) > LONGEST_EMAIL:
        return text("field.too_long", limit=LONGEST_EMAIL)
    return None if _MAIL.fullmatch(email) and email.isprintable() else text("field.email")


def wrong_fields(username: str, name: str, email: str | None) -> Fields:
    """The reasons by field; empty when all is well."""
    found = {"username": wrong_username(username), "name": wrong_name(name), "email": wrong_email(email) if email is not None else None}
    return {field: [why] for field, why in found.items() if why is not None}


def taken_fields(connection: sa.Connection, keys: Keys, *, but: int = 0) -> Fields:
    """The fields that another account than `but` has. One signs in with either: a user name must be nobody else's mail address, too."""
    wanted = [keys.username, *([keys.email] if keys.email else [])]
    others = sa.select(users.c.username_key, users.c.email_key).where(
        users.c.id != but, sa.or_(users.c.username_key.in_(wanted), users.c.email_key.in_(wanted))
    )
    held = {key for row in connection.execute(others) for key in row if key is not None}
    found: Fields = {}
    if keys.username in held:
        found["username"] = [text("field.taken")]
    if keys.email in held:
        found["email"] = [text("field.taken")]
    return found
