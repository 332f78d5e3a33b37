"""What a mail code lets somebody do who is not signed in: register, and sign in."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Forbidden, Invalid
from server.people import codes
from server.people.codes import Code, Email, Proof, Purpose
from server.people.organizations import root_id
from server.people.password_change import find_by_mailbox
from server.people.password_rules import PasswordRules
from server.people.passwords import Passwords
from server.people.schemas import Me, Password, TokenPair
from server.people.sessions import open_session
from server.people.tables import role_grants, roles, users
from server.people.users import get_me
from server.platform import audit

# What somebody may do who has only proved a mailbox.
ROLE = "student"
# No @: nobody can take another's mail address as a user name, and sign-in takes both.
_USERNAME = re.compile(r"[^\s@\x00-\x1f\x7f-\x9f]+")


class Registration(msgspec.Struct, forbid_unknown_fields=True):
    email: Email
    code: Code
    username: Annotated[str, msgspec.Meta(min_length=2, max_length=150)]
    password: Password


class CodeLogin(msgspec.Struct, forbid_unknown_fields=True):
    email: Email
    code: Code


class RegistrationOff(Forbidden):
    type = "registration_off"


async def register(ctx: Context, actor: Actor, request: Registration) -> Me:
    """A new user in the root organization, with the role `student`.

    Raises RegistrationOff unless REGISTRATION=on, Invalid for a name that is taken or a password that must not be, CodeWrong, TooMany.
    """
    if ctx.settings.registration == "off":
        raise RegistrationOff()
    username = request.username.strip()
    if not _USERNAME.fullmatch(username):
        raise Invalid.field("username", "sign_in.username_form")
    await ctx.services.get(PasswordRules).check(request.password, username, request.email)
    # The code before the name: only who reads a mailbox hears which names are taken.
    proof = await codes.prove(ctx, actor, request.email, Purpose.REGISTER, request.code)
    await ctx.sql.read_small(lambda connection: _check_free(connection, username))
    await codes.spend(ctx, actor, proof)
    passwords = ctx.services.get(Passwords)
    async with passwords.turn:
        hashed = await passwords.hash(request.password)
    try:
        made = await ctx.sql.write(lambda connection: _create(ctx, connection, actor, proof, request, username, hashed))
    except sa.exc.IntegrityError:  # somebody else took the name or the address at the same moment
        made = None
        await ctx.sql.read_small(lambda connection: _check_free(connection, username))
    if made is None:
        raise await codes.refuse(ctx, actor, proof.purpose, proof.mailbox)
    return made


async def log_in_by_code(ctx: Context, actor: Actor, request: CodeLogin, *, agent: str) -> TokenPair:
    """Open a session with a mail code. Raises CodeWrong, or TooMany after repeated failures from this address."""
    proof = await codes.prove(ctx, actor, request.email, Purpose.LOGIN, request.code)
    user = await find_by_mailbox(ctx, proof.mailbox)
    if user is None:
        raise await codes.refuse(ctx, actor, proof.purpose, proof.mailbox)
    await codes.spend(ctx, actor, proof)
    return await open_session(ctx, actor, user.id, method="code", agent=agent)


def _check_free(connection: sa.Connection, username: str) -> None:
    if connection.execute(sa.select(users.c.id).where(users.c.username_key == username.casefold())).first() is not None:
        raise Invalid.field("username", "sign_in.username_taken")


def _create(
    ctx: Context, connection: sa.Connection, actor: Actor, proof: Proof, request: Registration, username: str, hashed: str
) -> Me | None:
    """The user, or None when the mailbox has one."""
    if connection.execute(sa.select(users.c.id).where(users.c.email_key == proof.mailbox)).first() is not None:
        return None
    now, root = ctx.clock.now(), root_id(connection)
    row = users.insert().values(
        username=username,
        username_key=username.casefold(),
        email=request.email.strip(),
        email_key=proof.mailbox,
        name=username,
        kind="person",
        state="active",
        password_hash=hashed,
        organization_id=root,
        created_at=now,
        updated_at=now,
        password_changed_at=now,
    )
    made = connection.execute(row).inserted_primary_key
    assert made
    role_id = connection.execute(sa.select(roles.c.id).where(roles.c.name == ROLE)).scalar_one()
    connection.execute(role_grants.insert().values(user_id=made[0], role_id=role_id, organization_id=root))
    audit.note(connection, now, actor, "user.register", f"user:{made[0]}", username=username, role=ROLE)
    return get_me(connection, int(made[0]))
