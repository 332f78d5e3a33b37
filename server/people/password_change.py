"""A user's own new password: by the present one, or by a mail code. The sessions that the old one opened end."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Invalid
from server.people import codes, login_delay
from server.people.codes import Code, Email, Purpose
from server.people.password_mail import Happened, queue_mail
from server.people.password_rules import PasswordRules
from server.people.passwords import Passwords
from server.people.schemas import Password
from server.people.session_list import own_session
from server.people.sessions import end_sessions, tell_ended
from server.people.tables import users
from server.platform import audit
from server.platform.tasks import Queue, TaskQueued


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True):
    old_password: Password
    password: Password


class PasswordReset(msgspec.Struct, forbid_unknown_fields=True):
    email: Email
    code: Code
    password: Password


async def change(ctx: Context, actor: Actor, request: PasswordChange) -> None:
    """Put a new password in place of the present one; every other session of the caller ends.

    Raises Invalid for a wrong present password and for a new one that must not be, TooMany after repeated wrong ones.
    """
    user_id, session_id = own_session(actor)
    now, passwords, account = ctx.clock.now(), ctx.services.get(Passwords), f"change:{user_id}"
    await login_delay.check(ctx, account, actor.address)
    mine = sa.select(users).where(users.c.id == user_id)
    user = await ctx.sql.read_small(lambda connection: connection.execute(mine).one())
    async with passwords.turn:
        # Again, as at a sign-in: of many tries that come at once, those after the last free one must find the delay that it caused.
        await login_delay.check(ctx, account, actor.address)
        if not await passwords.check(user.password_hash, request.old_password):
            await login_delay.failed(ctx, account, actor.address)
            await ctx.sql.write(lambda connection: audit.note(connection, now, actor, "password.refused", f"user:{user_id}"))
            raise Invalid.field("old_password", "sign_in.old_password_wrong")
    await login_delay.succeeded(ctx, account, actor.address)
    await ctx.services.get(PasswordRules).check(request.password, user.username, user.email, user.name)
    async with passwords.turn:
        hashed = await passwords.hash(request.password)

    def transaction(connection: sa.Connection) -> list[str] | None:
        same = users.update().where(users.c.id == user_id, users.c.state == "active", users.c.password_hash == user.password_hash)
        if connection.execute(same.values(password_hash=hashed, password_changed_at=now, updated_at=now)).rowcount != 1:
            return None
        ended = end_sessions(connection, now, user_id, reason="password_change", keep=session_id)
        audit.note(connection, now, actor, "password.change", f"user:{user_id}", sessions_ended=len(ended))
        queue_mail(connection, now, user_id, Happened.PASSWORD_CHANGED)
        return ended

    ended = await ctx.sql.write(transaction)
    if ended is None:  # changed by somebody else since it was checked
        raise Invalid.field("old_password", "sign_in.old_password_wrong")
    await tell_ended(ctx, ended)
    await ctx.events.publish(TaskQueued(Queue.MAIL.value))


async def reset(ctx: Context, actor: Actor, request: PasswordReset) -> None:
    """Set a new password by a mail code; every session of the user ends.

    Raises Invalid for a password that must not be, CodeWrong, and TooMany after repeated failures.
    """
    rules = ctx.services.get(PasswordRules)
    # Before the code is looked at, by what the caller has told: this says nothing about an account.
    await rules.check(request.password, request.email)
    proof = await codes.prove(ctx, actor, request.email, Purpose.RESET, request.code)
    user = await find_by_mailbox(ctx, proof.mailbox)
    if user is None:
        raise await codes.refuse(ctx, actor, proof.purpose, proof.mailbox)
    await rules.check(request.password, user.username, user.name)
    await codes.spend(ctx, actor, proof)
    now, passwords = ctx.clock.now(), ctx.services.get(Passwords)
    async with passwords.turn:
        hashed = await passwords.hash(request.password)

    def transaction(connection: sa.Connection) -> list[str] | None:
        same = users.update().where(users.c.id == user.id, users.c.state == "active", users.c.email_key == proof.mailbox)
        if connection.execute(same.values(password_hash=hashed, password_changed_at=now, updated_at=now)).rowcount != 1:
            return None
        ended = end_sessions(connection, now, user.id, reason="password_change")
        audit.note(connection, now, actor, "password.reset", f"user:{user.id}", sessions_ended=len(ended))
        queue_mail(connection, now, user.id, Happened.PASSWORD_RESET)
        return ended

    ended = await ctx.sql.write(transaction)
    if ended is None:  # disabled, or the mailbox is another's, since the code was looked at
        raise await codes.refuse(ctx, actor, proof.purpose, proof.mailbox)
    await tell_ended(ctx, ended)
    await ctx.events.publish(TaskQueued(Queue.MAIL.value))


async def find_by_mailbox(ctx: Context, mailbox: str) -> Any | None:
    """The active user with a mail address, or None."""
    theirs = sa.select(users).where(users.c.email_key == mailbox, users.c.state == "active")
    return await ctx.sql.read_small(lambda connection: connection.execute(theirs).one_or_none())
