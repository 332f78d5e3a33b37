"""Modules: registered, listed, described, removed, and sent messages."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
from collections import Counter
from typing import Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.dispatch.errors import ModuleInUse, ModuleNotFound, ModuleOffline, RegistrationRefused
from server.dispatch.events import ModuleChanged
from server.dispatch.hub import Connection, Hub
from server.dispatch.module_schemas import ConnectionView, Module, ModulePatch, Registered, RegisterRequest
from server.dispatch.requirements import Requirement, parse_requirements
from server.dispatch.states import STEP_OUT
from server.dispatch.tables import modules, steps, workflows
from server.people.organizations import root_id
from server.platform import audit


def check_may_register(ctx: Context, actor: Actor, key: str) -> None:
    """Raise RegistrationRefused unless the caller may: modules:write, the module key, or loopback in development."""
    if actor.may("modules:write"):
        return
    if key and hmac.compare_digest(key.encode(), ctx.secrets.module_key.encode()):
        return
    if ctx.settings.debug and _is_loopback(actor.address):
        return
    raise RegistrationRefused(scope="modules:write")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


async def register(ctx: Context, actor: Actor, request: RegisterRequest) -> Registered:
    """A module's hash: a new one, or the same again for the same name and modelHash, whose description is then updated.

    Raises RegistrationRefused; Invalid naming the wrong requirement.
    """
    check_may_register(ctx, actor, request.key)
    inputs = parse_requirements(request.input_data, "input_data")
    outputs = parse_requirements(request.output_data, "output_data")
    described = {"description": request.description, "input_data": _plain(inputs), "output_data": _plain(outputs)}
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> tuple[Registered, bool]:
        same = sa.select(modules).where(modules.c.name == request.name, modules.c.model_hash == request.model_hash)
        row = connection.execute(same).one_or_none()
        if row is not None:
            redefined = row.input_data != described["input_data"] or row.output_data != described["output_data"]
            connection.execute(modules.update().where(modules.c.id == row.id).values(updated_at=now, **described))
            return Registered(row.hash, row.id, row.id), redefined
        fresh = secrets.token_hex(16)
        made = connection.execute(
            modules.insert().values(
                hash=fresh,
                name=request.name,
                model_hash=request.model_hash,
                organization_id=root_id(connection),
                registered_at=now,
                updated_at=now,
                **described,
            )
        )
        assert made.inserted_primary_key
        number = int(made.inserted_primary_key[0])
        audit.note(connection, now, actor, "module.register", f"module:{number}", name=request.name)
        return Registered(fresh, number, number), True

    try:
        registered, redefined = await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:  # registered by another instance at the same moment
        registered, redefined = await ctx.sql.write(transaction)
    await ctx.events.publish(ModuleChanged(registered.hash, online=_find(ctx, registered.hash) is not None, redefined=redefined))
    return registered


def _plain(requirements: list[Requirement]) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(requirement) for requirement in requirements]


def _find(ctx: Context, hash: str) -> Connection | None:
    return ctx.services.get(Hub).find(hash)


def check_may_see(ctx: Context, actor: Actor) -> None:
    """Modules may look at each other on the same terms as they may register; people need modules:read."""
    if actor.may("modules:read") or (ctx.settings.debug and _is_loopback(actor.address)):
        return
    actor.require("modules:read")


async def list_modules(ctx: Context, actor: Actor, *, online_only: bool = False) -> list[Module]:
    """All modules that the caller may see, by name."""
    check_may_see(ctx, actor)
    # A module in development that has not signed in sees them all.
    places = actor.organizations("modules:read") if actor.signed_in else None
    wanted = sa.select(modules).order_by(modules.c.name, modules.c.id)
    if online_only:
        wanted = wanted.where(modules.c.instance.is_not(None))
    if places is not None:
        wanted = wanted.where(modules.c.organization_id.in_(places))

    def transaction(connection: sa.Connection) -> list[Module]:
        running = _running(connection)
        return [_shown(ctx, row, running[row.hash]) for row in connection.execute(wanted)]

    return await ctx.sql.read(transaction)


def _running(connection: sa.Connection, hash: str | None = None) -> Counter[str]:
    out = (
        sa.select(steps.c.module_hash, sa.func.count())
        .where(steps.c.state.in_([state.value for state in STEP_OUT]))
        .group_by(steps.c.module_hash)
    )
    if hash is not None:
        out = out.where(steps.c.module_hash == hash)
    return Counter({row[0]: int(row[1]) for row in connection.execute(out)})


def _shown(ctx: Context, row: Any, running: int) -> Module:
    sockets = ctx.services.get(Hub).of_module(row.hash)
    return Module(
        module_id=row.id,
        id=row.id,
        hash=row.hash,
        name=row.name,
        description=row.description,
        model_hash=row.model_hash,
        input_data=row.input_data,
        output_data=row.output_data,
        online=row.instance is not None,
        connected_at=row.connected_at if row.instance else None,
        last_seen=max((socket.last_seen for socket in sockets), default=row.last_seen),
        address=row.address if row.instance else None,
        running=running,
        organization_id=row.organization_id,
        registered_at=row.registered_at,
        connections=[
            ConnectionView(
                "draining" if socket.draining else "serving", socket.address, socket.protocol, socket.connected_at, len(socket.flights)
            )
            for socket in sockets
        ],
    )


def access_row(connection: sa.Connection, actor: Actor, hash: str, scope: str) -> Any:
    """The module's row, if the caller holds `scope` where it belongs; raises ModuleNotFound otherwise."""
    row = connection.execute(sa.select(modules).where(modules.c.hash == hash)).one_or_none()
    if row is None or not actor.may(scope, row.organization_id):
        raise ModuleNotFound()
    return row


async def get_module(ctx: Context, actor: Actor, hash: str) -> Module:
    def transaction(connection: sa.Connection) -> Module:
        return _shown(ctx, access_row(connection, actor, hash, "modules:read"), _running(connection, hash)[hash])

    return await ctx.sql.read(transaction)


async def find_for_socket(ctx: Context, hash: str) -> str | None:
    """The module's name when the hash is a registered one; what a socket shows on opening."""
    name = sa.select(modules.c.name).where(modules.c.hash == hash)
    return await ctx.sql.read_small(lambda connection: connection.execute(name).scalar())


async def patch_module(ctx: Context, actor: Actor, hash: str, patch: ModulePatch) -> Module:
    """Change a module's description or requirements. Raises ModuleNotFound, Invalid."""
    changes: dict[str, Any] = {}
    if patch.description is not None:
        changes["description"] = patch.description
    if patch.input_data is not None:
        changes["input_data"] = _plain(parse_requirements(patch.input_data, "input_data"))
    if patch.output_data is not None:
        changes["output_data"] = _plain(parse_requirements(patch.output_data, "output_data"))
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        row = access_row(connection, actor, hash, "modules:write")
        if changes:
            connection.execute(modules.update().where(modules.c.id == row.id).values(updated_at=now, **changes))
            audit.note(connection, now, actor, "module.update", f"module:{row.id}", fields=sorted(changes))

    await ctx.sql.write(transaction)
    await ctx.events.publish(ModuleChanged(hash, online=_find(ctx, hash) is not None, redefined=True))
    return await get_module(ctx, actor, hash)


async def remove_module(ctx: Context, actor: Actor, hash: str) -> None:
    """Forget a module and close its sockets. Raises ModuleNotFound; ModuleInUse while a workflow names it."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        row = access_row(connection, actor, hash, "modules:write")
        named = connection.execute(sa.select(workflows.c.name, workflows.c.body)).all()
        users = [workflow.name for workflow in named if any(step["module_hash"] == hash for step in workflow.body["execute_modules"])]
        if users:
            raise ModuleInUse(workflows=", ".join(users[:5]))
        connection.execute(modules.delete().where(modules.c.id == row.id))
        audit.note(connection, now, actor, "module.remove", f"module:{row.id}", name=row.name)

    await ctx.sql.write(transaction)
    await ctx.events.publish(ModuleChanged(hash, online=False, redefined=True, removed=True))


async def send_message(ctx: Context, actor: Actor, hash: str, message: Any) -> str:
    """Send a message to a module, a string as it is and anything else as JSON; what was sent.

    Raises ModuleNotFound, ModuleOffline.
    """
    await ctx.sql.read(lambda connection: access_row(connection, actor, hash, "modules:send"))
    sent = message if isinstance(message, str) else msgspec.json.encode(message).decode()
    socket = _find(ctx, hash)
    if socket is not None:
        socket.send(sent.encode())
        return sent
    if not await _send_elsewhere(ctx, hash, sent):
        raise ModuleOffline()
    return sent


async def _send_elsewhere(ctx: Context, hash: str, sent: str) -> bool:
    """Ask the instance that holds the socket; False when none answers in time."""
    if ctx.bus.mode == "embedded":
        return False
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    topic = f"sent:{secrets.token_hex(8)}"

    def heard(_topic: str, _message: bytes) -> None:
        if not answer.done():
            answer.set_result(None)

    subscription = ctx.bus.subscribe(topic, heard)
    try:
        await subscription.ready()
        await ctx.bus.publish(f"send:{hash}", msgspec.json.encode({"answer": topic, "message": sent}))
        await asyncio.wait_for(answer, 3)
    except TimeoutError:
        return False
    finally:
        subscription.close()
    return True


class Forwarder:
    """Sends what other instances ask to send to modules whose sockets are here."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._tasks: set[asyncio.Task[Any]] = set()
        if ctx.bus.mode == "distributed":
            ctx.bus.subscribe("send:*", self._receive)

    def _receive(self, topic: str, message: bytes) -> None:
        socket = _find(self._ctx, topic.partition(":")[2])
        if socket is None:
            return
        asked = msgspec.json.decode(message)
        socket.send(asked["message"].encode())
        task = asyncio.get_running_loop().create_task(self._ctx.bus.publish(asked["answer"], b"1"))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
