"""The hub: the module sockets that this instance holds, and what each has in flight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime


class Connection:
    """One module socket. `protocol` is 1 for modules that speak only the inherited frames, 2 for those that confirm by step and fence.

    `process` names the module's process, so that one that only lost its socket is told from one that was started anew.
    """

    def __init__(
        self,
        hash: str,
        *,
        send: Callable[[bytes], None],
        close: Callable[[int, str], None],
        protocol: int,
        process: str | None,
        address: str,
        at: datetime,
    ) -> None:
        self.hash = hash
        self.send = send
        self.close = close
        self.protocol = protocol
        self.process = process
        self.address = address
        self.connected_at = at
        self.last_seen = at
        self.draining = False
        self.leaving = False  # the module said so itself, and closes the socket itself
        self.present = False  # it has been written down that the module is served here
        self.closed = False
        # step id -> fence of what was sent and is not yet settled
        self.flights: dict[str, int] = {}


class Hub:
    """At most one serving connection per module, and any number that drain."""

    def __init__(self) -> None:
        self._serving: dict[str, Connection] = {}
        self._draining: dict[str, list[Connection]] = {}
        self.closing = False

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Connection]:
        yield from list(self._serving.values())
        for connections in list(self._draining.values()):
            yield from list(connections)

    def find(self, hash: str) -> Connection | None:
        """The connection that takes new work of this module."""
        return self._serving.get(hash)

    def attach(self, connection: Connection) -> Connection | None:
        """Let a connection serve; the one it takes over from, which now drains. One that serves or drains already stays as it is."""
        old = self._serving.get(connection.hash)
        if old is connection or connection.draining or connection.closed:
            return None
        if old is not None:
            old.draining = True
            self._draining.setdefault(connection.hash, []).append(old)
        self._serving[connection.hash] = connection
        return old

    def detach(self, connection: Connection) -> bool:
        """Forget a closed connection; True when it was the serving one."""
        connection.closed = True
        if self._serving.get(connection.hash) is connection:
            del self._serving[connection.hash]
            return True
        draining = self._draining.get(connection.hash, [])
        if connection in draining:
            draining.remove(connection)
            if not draining:
                del self._draining[connection.hash]
        return False

    def retire(self, connection: Connection) -> bool:
        """Take a connection out of service without a successor here; it drains. False when it did not serve."""
        if self._serving.get(connection.hash) is not connection:
            return False
        del self._serving[connection.hash]
        connection.draining = True
        self._draining.setdefault(connection.hash, []).append(connection)
        return True

    @property
    def serving(self) -> list[Connection]:
        """The connections that take new work."""
        return list(self._serving.values())

    def of_module(self, hash: str) -> list[Connection]:
        serving = self._serving.get(hash)
        return ([serving] if serving else []) + list(self._draining.get(hash, []))

    def find_flight(self, hash: str, step_id: str) -> Connection | None:
        """The connection on which a step is in flight."""
        return next((connection for connection in self.of_module(hash) if step_id in connection.flights), None)

    @property
    def in_flight(self) -> int:
        return sum(len(connection.flights) for connection in self)

    def close_all(self, code: int, reason: str) -> None:
        """Close every socket, as a stopping server does."""
        self.closing = True
        for connection in list(self):
            connection.close(code, reason)
