"""Typed events: published after a commit, heard in this process and, over the bus, in every other instance."""

from __future__ import annotations

import functools
import logging
import operator
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from server.engines.bus import BusDoor
from server.errors import EngineAway

log = logging.getLogger(__name__)

TOPIC = "events"


class Event(msgspec.Struct, frozen=True, tag=True):
    """Something that has happened and is committed. Each wing defines its own."""


E = TypeVar("E", bound=Event)


class Resync(Event, frozen=True):
    """Events may have been missed (the bus was away): what is cached must be read again."""


class _Parcel(msgspec.Struct, frozen=True, array_like=True):
    sender: str
    event: msgspec.Raw


class Events:
    """Delivers events to those who listen; a listener's error is logged and harms nobody else."""

    def __init__(self, bus: BusDoor, instance: str, kinds: Iterable[type[Event]]) -> None:
        self._bus = bus
        self._instance = instance
        self._listeners: dict[type[Event], list[Callable[[Any], None]]] = {}
        kinds = [Resync, *kinds]
        self._decode = msgspec.json.Decoder(functools.reduce(operator.or_, kinds)).decode
        self._open = msgspec.json.Decoder(_Parcel).decode
        self._encode = msgspec.json.Encoder().encode
        self._shared = bus.mode == "distributed"
        if self._shared:
            bus.subscribe(TOPIC, self._receive)
            bus.on_resync(lambda: self._deliver(Resync()))

    def listen(self, kind: type[E], listener: Callable[[E], None]) -> None:
        """Call `listener` on the loop for each event of exactly this kind."""
        self._listeners.setdefault(kind, []).append(listener)

    async def publish(self, event: Event) -> None:
        """Tell everyone. An absent bus loses nothing here: the listeners elsewhere resync when it is back."""
        self._deliver(event)
        if self._shared:
            parcel = self._encode(_Parcel(self._instance, msgspec.Raw(self._encode(event))))
            try:
                await self._bus.publish(TOPIC, parcel)
            except EngineAway as away:
                log.warning("event %s stayed in this process: %s", type(event).__name__, away.cause)

    def _deliver(self, event: Event) -> None:
        for listener in self._listeners.get(type(event), ()):
            try:
                listener(event)
            except Exception:
                log.exception("a listener of %s failed", type(event).__name__)

    def _receive(self, _topic: str, message: bytes) -> None:
        try:
            parcel = self._open(message)
            if parcel.sender != self._instance:
                self._deliver(self._decode(parcel.event))
        except msgspec.MsgspecError as error:  # an instance of another version speaks of what we do not know
            log.info("an event could not be read: %s", error)
