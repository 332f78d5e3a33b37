"""Single sign-on by CAS: a ticket becomes one of our users, a one-time code, and then a session."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec
import sqlalchemy as sa
from tornado.web import create_signed_value, decode_signed_value

from server.actor import Actor, ActorKind
from server.context import Context
from server.errors import Conflict, EngineAway, Forbidden, Invalid, NotFound, NotSignedIn
from server.people import cas_logout, login_delay, tickets, tokens
from server.people.cas_answers import CasPerson, TicketRefused
from server.people.cas_client import login_address, server_url, validate
from server.people.cas_logout import ticket_hash
from server.people.identify import ViewOnly, identify_again
from server.people.organizations import root_id
from server.people.password_mail import Happened, queue_mail
from server.people.schemas import TokenPair
from server.people.session_list import own_session
from server.people.sessions import open_session
from server.people.tables import cas_links, cas_sessions, users
from server.platform import audit
from server.platform.tasks import Queue, TaskQueued

CODE_LIFE_S = 30
# How long somebody may take to sign in at the CAS server.
STATE_LIFE_S = 600
LONGEST_NEXT = 2000
LONGEST_TICKET = 256
LONGEST_USERNAME = 150
_DAY_S = 86_400


class CasOff(NotFound):
    type = "cas_off"


class StateInvalid(NotSignedIn):
    """The sign-in was not begun in this browser, or too long ago."""

    type = "cas_state"


class CasTicketInvalid(NotSignedIn):
    type = "cas_ticket_invalid"


class CodeInvalid(NotSignedIn):
    type = "cas_code_invalid"


class CasUserDisabled(Forbidden):
    type = "cas_user_disabled"


class CasUserUnknown(Forbidden):
    """Nobody here is linked to the person, and accounts are not made by signing in."""

    type = "cas_user_unknown"


class CasLinkTaken(Conflict):
    """Somebody else here is linked to the person."""

    type = "cas_link_taken"


class CasLinkNotFound(NotFound):
    type = "cas_link_not_found"


class CasLinkLast(Conflict):
    """Without the link its owner could not sign in any more."""

    type = "cas_link_last"


class CasLink(msgspec.Struct):
    """A person at a CAS server who is the caller here."""

    server: str
    cas_id: str
    created_at: datetime
    last_login_at: datetime


class CasLinkQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which link; without `server`, one at the present server."""

    cas_id: Annotated[str, msgspec.Meta(min_length=1, max_length=190)]
    server: Annotated[str, msgspec.Meta(max_length=190)] = ""


class State(msgspec.Struct, frozen=True):
    """What a browser keeps, signed, while somebody signs in; `nonce` binds ticket and code to that browser.

    With a `user_id` the person is linked to that user, who began it by the session `session_id`.
    """

    nonce: str
    next: str
    renew: bool = False
    gateway: bool = False
    user_id: int | None = None
    session_id: str = ""


class Begun(msgspec.Struct, frozen=True):
    """A sign-in that begins: where the browser goes, and the value of its cookie."""

    location: str
    cookie: str


class CodeRequest(msgspec.Struct, forbid_unknown_fields=True):
    code: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class _Code(msgspec.Struct, frozen=True):
    """What a code stands for, on the bus under the code's hash."""

    user_id: int
    ticket_hash: str
    nonce: str


def check_on(ctx: Context) -> None:
    """Raise CasOff unless a CAS server is set."""
    if not server_url(ctx.settings):
        raise CasOff()


def check_next(address: str) -> None:
    """Raise Invalid for anything but a path of this site: no other host, nothing that a browser reads as one."""
    local = address.startswith("/") and address[1:2] not in ("/", "\\")
    if not local or not address.isprintable() or "\\" in address or len(address) > LONGEST_NEXT:
        raise Invalid.field("next", "cas.next_local")


def begin(ctx: Context, following: str, *, renew: bool = False, gateway: bool = False) -> Begun:
    """Begin a sign-in that leads to the page `following` of this site. Raises CasOff, Invalid."""
    check_on(ctx)
    check_next(following)
    return _begun(ctx, State(secrets.token_urlsafe(24), following, renew, gateway and not renew))


async def begin_link(ctx: Context, ticket: str, following: str) -> Begun:
    """Begin to link whoever signs in at the CAS server to the user of a one-time ticket. Raises CasOff, Invalid, NotSignedIn, Forbidden."""
    check_on(ctx)
    check_next(following)
    actor = await tickets.redeem(ctx, ticket)
    user_id, session_id = own_session(actor)
    if actor.viewer is not None:
        raise ViewOnly()
    # The password is always asked for, so that who was led here unawares notices.
    return _begun(ctx, State(secrets.token_urlsafe(24), following, renew=True, user_id=user_id, session_id=session_id))


def _begun(ctx: Context, state: State) -> Begun:
    signed = create_signed_value(
        ctx.secrets.secret_key, "cas", msgspec.json.encode(state), version=2, clock=lambda: ctx.clock.now().timestamp()
    )
    return Begun(login_address(ctx.settings, renew=state.renew, gateway=state.gateway), signed.decode())


def get_state(ctx: Context, cookie: str) -> State:
    """The sign-in that this browser has begun. Raises StateInvalid."""
    kept = decode_signed_value(
        ctx.secrets.secret_key, "cas", cookie, max_age_days=STATE_LIFE_S / _DAY_S, clock=lambda: ctx.clock.now().timestamp(), min_version=2
    )
    if kept is None:
        raise StateInvalid()
    return msgspec.json.decode(kept, type=State)


def ui_address(page: str, **parameters: str) -> str:
    """A page of ours with parameters added to its query, before the part that the browser keeps to itself (#…)."""
    parts = urlsplit(page)
    added = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    query = "&".join(filter(None, (parts.query, added)))
    return quote(urlunsplit(("", "", parts.path or "/", query, parts.fragment)), safe="/%?&=+:;,@!$'()*~#[]-._")


async def accept_ticket(ctx: Context, actor: Actor, state: State, ticket: str) -> str:
    """The one-time code for a ticket that the CAS server takes; it holds for half a minute, in the browser that began.

    Raises CasTicketInvalid, also for one that came before; CasUserDisabled, CasUserUnknown, TooMany, CasAway and CasGarbled.
    """
    person, hashed = await _validated(ctx, actor, state, ticket)
    user_id = await _arrive(ctx, actor, person, hashed)
    if await ctx.bus.find(cas_logout.ended_key(hashed)) is not None:  # signed out there while we asked
        await cas_logout.end_tickets(ctx, actor, [hashed])
        raise CasTicketInvalid()
    one_time = secrets.token_urlsafe(32)
    kept = _Code(user_id, hashed, _hash(state.nonce))
    await ctx.bus.put(f"cas-code:{_hash(one_time)}", msgspec.json.encode(kept), ttl_s=CODE_LIFE_S)
    return one_time


async def accept_link(ctx: Context, actor: Actor, state: State, ticket: str) -> None:
    """Link whom a ticket stands for to the user who began it. Raises as `accept_ticket`; SessionOver, and CasLinkTaken."""
    assert state.user_id is not None
    begun = Actor(kind=ActorKind.PERSON, name="", user_id=state.user_id, session_id=state.session_id)
    begun = await identify_again(ctx, msgspec.structs.replace(begun, address=actor.address, request_id=actor.request_id))
    person, hashed = await _validated(ctx, actor, state, ticket)
    if await ctx.sql.write(lambda connection: _link(ctx, connection, begun, person, hashed)):
        await ctx.events.publish(TaskQueued(Queue.MAIL.value))


def _link(ctx: Context, connection: sa.Connection, actor: Actor, person: CasPerson, hashed: str) -> bool:
    """Write the link; False when it was there. The ticket counts as used, and opens no session."""
    (user_id, _), now, server = own_session(actor), ctx.clock.now(), server_url(ctx.settings)
    held = sa.select(cas_links.c.user_id).where(cas_links.c.server == server, cas_links.c.cas_id == person.cas_id)
    owner = connection.execute(held).scalar()
    if owner is not None and owner != user_id:
        raise CasLinkTaken()
    connection.execute(cas_sessions.insert().values(ticket_hash=hashed, user_id=user_id, created_at=now, ended_at=now))
    if owner is not None:
        return False
    row = {"server": server, "cas_id": person.cas_id, "user_id": user_id, "attributes": _kept_of(person), "created_at": now}
    try:
        with connection.begin_nested():
            connection.execute(cas_links.insert().values(**row, last_login_at=now))
    except sa.exc.IntegrityError:  # somebody else came at the same moment
        raise CasLinkTaken() from None
    audit.note(connection, now, actor, "cas.link", f"user:{user_id}", server=server, cas_id=person.cas_id)
    queue_mail(connection, now, user_id, Happened.CAS_LINKED)
    return True


async def list_links(ctx: Context, actor: Actor) -> list[CasLink]:
    """The caller's links. Raises Forbidden for keys."""
    mine = sa.select(cas_links).where(cas_links.c.user_id == own_session(actor)[0]).order_by(cas_links.c.created_at)
    found = await ctx.sql.read(lambda connection: connection.execute(mine).all())
    return [CasLink(row.server, row.cas_id, row.created_at, row.last_login_at) for row in found]


async def remove_link(ctx: Context, actor: Actor, query: CasLinkQuery) -> None:
    """Remove one of the caller's links; sessions that it opened go on. Raises CasLinkNotFound, CasLinkLast for the last way in."""
    (user_id, _), now, server = own_session(actor), ctx.clock.now(), query.server or server_url(ctx.settings)

    def transaction(connection: sa.Connection) -> None:
        # Locked: of two that are removed at once, the second finds itself the last.
        owner = connection.execute(sa.select(users.c.password_hash, users.c.email).where(users.c.id == user_id).with_for_update()).one()
        held = {(row.server, row.cas_id) for row in connection.execute(sa.select(cas_links).where(cas_links.c.user_id == user_id))}
        if (server, query.cas_id) not in held:
            raise CasLinkNotFound()
        if len(held) == 1 and not owner.password_hash and not owner.email:
            raise CasLinkLast()
        this = (cas_links.c.server == server, cas_links.c.cas_id == query.cas_id, cas_links.c.user_id == user_id)
        connection.execute(cas_links.delete().where(*this))
        audit.note(connection, now, actor, "cas.unlink", f"user:{user_id}", server=server, cas_id=query.cas_id)

    await ctx.sql.write(transaction)


def _kept_of(person: CasPerson) -> dict[str, Any]:
    return {"name": person.name, "email": person.email, "employee_number": person.employee_number, "all": person.attributes}


async def _validated(ctx: Context, actor: Actor, state: State, ticket: str) -> tuple[CasPerson, str]:
    """Whom a ticket stands for, and its hash."""
    check_on(ctx)
    if not (ticket.startswith("ST-") and len(ticket) <= LONGEST_TICKET and ticket.isascii() and ticket.isprintable()):
        raise CasTicketInvalid()
    await login_delay.check(ctx, f"cas:{state.nonce}", actor.address)
    hashed = ticket_hash(ticket)
    await _claim(ctx, hashed)
    try:
        person = await validate(ctx.settings, ticket, renew=state.renew)
    except TicketRefused as refusal:
        await login_delay.failed(ctx, f"cas:{state.nonce}", actor.address)
        code = str(refusal)
        await ctx.sql.write(lambda connection: audit.note(connection, ctx.clock.now(), actor, "login.refused", "user:?", cas=code))
        raise CasTicketInvalid() from None
    except EngineAway:
        await ctx.bus.remove(cas_logout.claim_key(hashed))  # the same address may be loaded again
        raise
    return person, hashed


async def _claim(ctx: Context, hashed: str) -> None:
    """Of several requests with one ticket, one goes on. Raises CasTicketInvalid for the others."""
    known = sa.select(cas_sessions.c.ticket_hash).where(cas_sessions.c.ticket_hash == hashed)
    if await ctx.bus.increment(cas_logout.claim_key(hashed), ttl_s=cas_logout.CLAIM_S) > 1:
        raise CasTicketInvalid()
    if await ctx.sql.read(lambda connection: connection.execute(known).first()) is not None:
        raise CasTicketInvalid()


async def _arrive(ctx: Context, actor: Actor, person: CasPerson, hashed: str) -> int:
    """Find or create the person's account, and note the ticket; the account's id.

    Only the id at this CAS server says whose account it is: a mail address or a name that happens to be the same links nothing.
    """
    server, now = server_url(ctx.settings), ctx.clock.now()
    creates = ctx.settings.cas_create_users == "on"
    kept = _kept_of(person)
    link = sa.and_(cas_links.c.server == server, cas_links.c.cas_id == person.cas_id)

    def transaction(connection: sa.Connection) -> int | Forbidden:
        found: Any = connection.execute(
            sa.select(users.c.id, users.c.state).join(cas_links, cas_links.c.user_id == users.c.id).where(link)
        ).first()
        refusal: Forbidden | None = None
        if found is None and not creates:
            refusal = CasUserUnknown()
        elif found is not None and found.state != "active":
            refusal = CasUserDisabled()
        if refusal is not None:
            audit.note(connection, now, actor, "login.refused", f"user:{found.id if found else '?'}", method="cas", cas_id=person.cas_id)
            return refusal
        if found is None:
            user_id = _create(connection, person, now)
            audit.note(connection, now, actor, "user.create", f"user:{user_id}", method="cas", cas_id=person.cas_id)
            row = {"server": server, "cas_id": person.cas_id, "user_id": user_id, "attributes": kept, "created_at": now}
            connection.execute(cas_links.insert().values(**row, last_login_at=now))
        else:
            user_id = int(found.id)
            connection.execute(cas_links.update().where(link).values(attributes=kept, last_login_at=now))
        connection.execute(cas_sessions.insert().values(ticket_hash=hashed, session_id=None, user_id=user_id, created_at=now))
        return user_id

    try:
        outcome = await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:  # the same person, or another of that name, came for the first time at the same moment
        outcome = await ctx.sql.write(transaction)
    if isinstance(outcome, Forbidden):
        raise outcome
    return outcome


def _create(connection: sa.Connection, person: CasPerson, now: datetime) -> int:
    """A person without a password and without roles, in the root organization. A name that is taken gets a number."""
    username, number = person.cas_id[:LONGEST_USERNAME], 1
    while connection.execute(sa.select(users.c.id).where(users.c.username_key == username.casefold())).first() is not None:
        number += 1
        username = f"{person.cas_id[: LONGEST_USERNAME - 8]}-{number}"
    email = person.email
    if email and connection.execute(sa.select(users.c.id).where(users.c.email_key == email.casefold())).first() is not None:
        email = None  # somebody has it here: whether that is the same person is for people to decide
    made = connection.execute(
        users.insert().values(
            username=username,
            username_key=username.casefold(),
            email=email,
            email_key=email.casefold() if email else None,
            name=(person.name or person.cas_id)[:190],
            kind="person",
            state="active",
            password_hash=None,
            organization_id=root_id(connection),
            created_at=now,
            updated_at=now,
        )
    )
    assert made.inserted_primary_key
    return int(made.inserted_primary_key[0])


async def redeem(ctx: Context, actor: Actor, code: str, cookie: str, *, agent: str) -> TokenPair:
    """A session for a one-time code, in the browser that began the sign-in.

    Raises StateInvalid, CodeInvalid, and CasUserDisabled when that happened since.
    """
    check_on(ctx)
    state = get_state(ctx, cookie)
    kept = await ctx.bus.take(f"cas-code:{_hash(code)}")
    if kept is None:
        raise CodeInvalid()
    meant = msgspec.json.decode(kept, type=_Code)
    if not hmac.compare_digest(meant.nonce, _hash(state.nonce)):
        raise CodeInvalid()
    mine = sa.select(users.c.state, cas_sessions.c.ended_at).join(cas_sessions, cas_sessions.c.user_id == users.c.id)
    mine = mine.where(cas_sessions.c.ticket_hash == meant.ticket_hash)
    row = await ctx.sql.read(lambda connection: connection.execute(mine).first())
    if row is None or row.ended_at is not None:  # signed out at the CAS server meanwhile
        raise CodeInvalid()
    if row.state != "active":
        raise CasUserDisabled()
    pair = await open_session(ctx, actor, meant.user_id, method="cas", agent=agent)
    session_id = tokens.read(ctx.secrets.secret_key, "access", pair.access_token, now=ctx.clock.now()).session_id
    if not await cas_logout.bind_session(ctx, meant.ticket_hash, session_id):
        await cas_logout.end_session(ctx, actor, session_id)
        raise CodeInvalid()
    return pair


def _hash(secret: str) -> str:
    """Codes and nonces are long and random, so that a plain SHA-256 of them is safe to keep."""
    return hashlib.sha256(secret.encode()).hexdigest()
