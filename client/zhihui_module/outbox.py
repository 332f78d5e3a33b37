"""Last words of steps: kept until the server confirms them, remembered for a while after.

The server answers each result with a plain `receive result`, in the order of the results on that socket; so the confirmations
of one socket belong to the oldest result sent on it. Nothing confirms a `cancelled`: it is done once a socket took it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from zhihui_module.steps import Key

MAX_UNCONFIRMED = 1000
# Confirmed answers, kept so that a second delivery of the same step need not run again.
MAX_REMEMBERED = 1000
MAX_REMEMBERED_BYTES = 32 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Answer:
    """A step's last frame, and the reports that have not travelled yet and go before it.

    `sent_on` is the number of the socket that it was last sent on; `again` whether it may be sent a second time.
    """

    key: Key
    frame: str
    is_result: bool
    again: bool
    reports: list[str] = field(default_factory=list)
    sent_on: int | None = None


class Outbox:
    """Unconfirmed answers in the order in which they came, at most `limit`; confirmed ones by key."""

    def __init__(self, limit: int = MAX_UNCONFIRMED) -> None:
        self._limit = limit
        self._waiting: OrderedDict[Key, Answer] = OrderedDict()
        self._sent: deque[Answer] = deque()
        self._remembered: OrderedDict[Key, Answer] = OrderedDict()
        self._remembered_bytes = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def waiting(self) -> list[Answer]:
        return list(self._waiting.values())

    def put(self, answer: Answer) -> Answer | None:
        """Keep an answer until it is confirmed; returns the oldest one when it had to give way."""
        self._waiting[answer.key] = answer
        self._empty.clear()
        if len(self._waiting) <= self._limit:
            return None
        return self._waiting.popitem(last=False)[1]

    def mark_sent(self, answer: Answer, socket: int) -> None:
        """A socket took the answer: a result now waits for its confirmation, anything else is done."""
        answer.sent_on = socket
        answer.reports = []
        if answer.is_result:
            self._sent.append(answer)
        if not answer.is_result or not answer.again:
            self._settle(answer)

    def confirm(self) -> bool:
        """The server confirmed the oldest result of this socket. False when none was waiting."""
        if not self._sent:
            return False
        self._settle(self._sent.popleft())
        return True

    def socket_closed(self) -> None:
        """What was sent and not confirmed has to be sent again."""
        self._sent.clear()

    def find(self, key: Key) -> Answer | None:
        """The answer that was given to this delivery, confirmed or not, while it is remembered."""
        return self._waiting.get(key) or self._remembered.get(key)

    async def wait_empty(self) -> None:
        """Until every result is confirmed."""
        await self._empty.wait()

    def _settle(self, answer: Answer) -> None:
        if self._waiting.get(answer.key) is answer:
            del self._waiting[answer.key]
            if not self._waiting:
                self._empty.set()
        if not answer.again or answer.key in self._remembered:
            return
        self._remembered[answer.key] = answer
        self._remembered_bytes += len(answer.frame)
        while len(self._remembered) > MAX_REMEMBERED or self._remembered_bytes > MAX_REMEMBERED_BYTES:
            self._remembered_bytes -= len(self._remembered.popitem(last=False)[1].frame)
