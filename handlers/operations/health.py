"""/health: whether this process lives, is ready, and how its engines are."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Any

import msgspec

from handlers.answering import ENCODE, Envelope
from handlers.base import ApiHandler
from handlers.errors import Draining
from handlers.operation import Operation, operation
from server import __version__
from server.engines.health import EngineHealth, check
from server.errors import EngineAway
from server.messages import say
from server.scopes import ANYONE

# Without these nothing works; the others only take a part along.
REQUIRED = ("sql", "bus")
ENGINES = ("sql", "documents", "bus", "mail", "compute", "files", "embedding", "vectors", "llm")


class Health(msgspec.Struct):
    """`state` is up, degraded (an engine that is not required is away) or away."""

    state: str
    version: str
    instance: str
    at: datetime
    engines: dict[str, EngineHealth]


class Alive(msgspec.Struct):
    state: str


class AlwaysOpen(ApiHandler):
    async def load_actor(self, declared: Operation) -> None:
        """Without the database nobody can be told who calls; how the engines are must be told all the same."""
        with contextlib.suppress(EngineAway):
            await super().load_actor(declared)


class HealthHandler(AlwaysOpen):
    @operation(ANYONE, "Each engine, how fast it answers, and its mode; 503 when a required one is away.", raw=True)
    async def get(self) -> Health:
        ctx = self.ctx
        doors: dict[str, Any] = {name: getattr(ctx, name) for name in ENGINES}
        engines = await check(doors)
        for name, health in engines.items():
            ctx.metrics.engine_up.labels(name, health.mode).set(health.state == "up")
            ctx.metrics.engine_latency.labels(name).set(health.latency_ms / 1000)
        away = [name for name, health in engines.items() if health.state == "away"]
        state = "up" if not away else "away" if set(away) & set(REQUIRED) else "degraded"
        shown = self.actor.may("operations:read")
        for name, health in engines.items():
            if not shown and health.cause:
                engines[name] = msgspec.structs.replace(health, cause="away")  # addresses of engines are for operators
        answer = Health(state, __version__, ctx.instance if shown else "", ctx.clock.now(), engines)
        self.set_status(503 if state == "away" else 200)
        code, message = (
            ("5030", say("error.engine_away", self.locale_wanted, engine=", ".join(away)))
            if state == "away"
            else ("2000", say("ok", self.locale_wanted))
        )
        self.finish(ENCODE(Envelope(code=code, message=message, result=answer)))
        return answer


class LiveHandler(AlwaysOpen):
    @operation(ANYONE, "The process lives and its loop turns.")
    async def get(self) -> Alive:
        return Alive("alive")


class ReadyHandler(AlwaysOpen):
    @operation(ANYONE, "Requests may be sent here: the required engines answer and the server is not going down.")
    async def get(self) -> Alive:
        if self.requests.draining:
            raise Draining()
        health = await check({name: getattr(self.ctx, name) for name in REQUIRED})
        away = [name for name, one in health.items() if one.state == "away"]
        if away:
            raise EngineAway(", ".join(away))
        return Alive("ready")


routes = [
    (r"/health/?", HealthHandler),
    (r"/health/live", LiveHandler),
    (r"/health/ready", ReadyHandler),
]
