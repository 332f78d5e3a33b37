"""The university of the season: its organizations and forty accounts, each with a browser of its own."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.contract.waiting import until
from tests.integration.house import PASSWORD
from tests.integration.library import Library
from tests.integration.season.ears import Ear

AT_ONCE = 4
# Code -> the code of what it belongs to, and its kind. The academy is where experts from outside are kept.
PLACES = {
    "engineering": ("", "school"),
    "science": ("", "school"),
    "academy": ("", "institute"),
    "software": ("engineering", "department"),
    "hardware": ("engineering", "department"),
    "physics": ("science", "department"),
}
DEPARTMENTS = ("software", "hardware", "physics")
# Name -> the place and the roles there.
PEOPLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "office": ("", ("organization_admin",)),
    "auditor": ("", ("auditor",)),
    "head_engineering": ("engineering", ("organization_admin",)),
    "head_science": ("science", ("organization_admin",)),
    **{f"chair_{place}": (place, ("teacher", "reviewer")) for place in DEPARTMENTS},
    **{f"expert{number}": ("academy", ("reviewer",)) for number in range(1, 7)},
    **{f"teacher{number}": (DEPARTMENTS[(number - 1) // 4], ("teacher",)) for number in range(1, 13)},
    **{f"student{number}": ("software" if number < 10 else "physics", ("student",)) for number in range(1, 16)},
}


class Person(Library):
    """Somebody who is signed in and whose browser listens."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name)
        self.name = name
        self.id = 0
        self.ear: Ear | None = None

    async def listen(self, *topics: str) -> None:
        ticket = (await self.post("/api/auth/ticket"))["ticket"]
        self.ear = await Ear.open(self.url, ticket, list(topics))

    async def refused(self, method: str, path: str, body: Any = None, *, status: int) -> str:
        """The type of the error."""
        return str((await self.ask(method, path, body, status=status))["type"])

    async def status(self, path: str) -> int:
        return (await self.fetch("GET", path)).code

    async def act(self, project_id: int, action: str, comment: str = "") -> str:
        """The project's state after an action of this person."""
        body = {"action": action, "comment": comment}
        return str((await self.post(f"/api/projects/{project_id}/transitions", body))["state"])

    async def project(self, project_id: int) -> dict[str, Any]:
        found: dict[str, Any] = await self.get(f"/api/projects/{project_id}")
        return found

    async def queue(self) -> dict[int, int]:
        """What waits for this person's decision: the audit of each project."""
        page = await self.get("/api/audits?page_size=200")
        found = {item["project_id"]: item["id"] for item in page["items"]}
        assert len(found) == page["total"]
        return found

    async def decide(self, project_id: int, decision: str = "approve", comment: str = "", **more: Any) -> dict[str, Any]:
        """Decide what waits for this person of a project."""
        audit_id = (await self.queue())[project_id]
        body = {"decision": decision, "comment": comment, **more}
        decided: dict[str, Any] = await self.post(f"/api/audits/{audit_id}/decide", body)
        return decided

    async def decide_all(self, project_ids: Sequence[int], decision: str = "approve", comment: str = "") -> dict[str, Any]:
        """Decide several at once."""
        queue = await self.queue()
        body = {"ids": [queue[project_id] for project_id in project_ids], "decision": decision, "comment": comment}
        outcome: dict[str, Any] = await self.post("/api/audits/decide", body)
        assert (outcome["decided"], outcome["refused"]) == (len(project_ids), 0), outcome
        return outcome

    async def sheet(self, path: str, kind: str) -> bytes:
        """A file of the interface: xlsx or pdf."""
        answer = await self.fetch("GET", path)
        assert answer.code == 200, answer.body[:2000]
        assert kind in answer.headers["Content-Type"], answer.headers["Content-Type"]
        return bytes(answer.body)

    async def notices(self) -> list[dict[str, Any]]:
        """All notifications, oldest first."""
        rows: list[dict[str, Any]] = []
        while True:
            page = await self.get(f"/api/notifications?sort=id&page_size=200&page={len(rows) // 200 + 1}")
            rows += page["items"]
            if len(page["items"]) < 200:
                return rows


class University:
    """Everybody by name, each at one of the servers; what the season makes is kept in `projects` by letter and `documents` by name."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.admin = Person(urls[0], "admin")
        self._urls = dict(zip(PEOPLE, itertools.cycle(urls)))
        self.people: dict[str, Person] = {}
        self.places: dict[str, int] = {}
        self.projects: dict[str, int] = {}
        self.documents: dict[str, int] = {}
        self.told_blindly: list[str] = []  # where a reviewer of a blind round was told whose project it is

    def __getitem__(self, name: str) -> Person:
        return self.people[name]

    def ids(self, letters: Iterable[str]) -> list[int]:
        return [self.projects[letter] for letter in letters]

    async def found(self) -> None:
        """Make the organizations and the accounts, sign everybody in and let them listen."""
        [root] = [one for one in (await self.admin.get("/api/organizations"))["items"] if one["parent_id"] is None]
        self.places[""] = root["id"]
        for code, (above, kind) in PLACES.items():
            body = {"name": code.capitalize(), "code": code, "kind": kind, "parent_id": self.places[above]}
            self.places[code] = (await self.admin.post("/api/organizations", body))["id"]
        # A few at a time: each password is hashed twice, which is meant to take its time.
        for first in range(0, len(PEOPLE), AT_ONCE):
            await asyncio.gather(*(self._admit(name, *PEOPLE[name]) for name in list(PEOPLE)[first : first + AT_ONCE]))
        await asyncio.gather(*(person.listen("notifications") for person in self.people.values()))
        for place in DEPARTMENTS:
            body = {"user_id": self[f"chair_{place}"].id, "position": "chair"}
            await self.admin.post(f"/api/organizations/{self.places[place]}/members", body)

    async def _admit(self, name: str, place: str, roles: tuple[str, ...]) -> None:
        person = Person(self._urls[name], name)
        body = {
            "username": name,
            "name": name.capitalize(),
            "password": PASSWORD,
            "organization_id": self.places[place],
            "roles": list(roles),
        }
        person.id = (await self.admin.post("/api/users", body))["id"]
        self.people[name] = person
        await person.sign_in()

    async def check_states(self, **states: str) -> None:
        """Each project, by letter, is in that state."""
        found = {letter: (await self["office"].project(self.projects[letter]))["state"] for letter in states}
        assert found == states

    async def check_everybody_heard(self) -> dict[str, Counter[str]]:
        """Whatever anybody was told came on their socket once, and nothing else did; the kinds that each was told, by name."""
        return dict(zip(self.people, await asyncio.gather(*(_heard(person) for person in self.people.values())), strict=True))

    async def end(self) -> None:
        await asyncio.gather(*(person.ear.end() for person in self.people.values() if person.ear))
        for person in (self.admin, *self.people.values()):
            person.close()


async def _heard(person: Person) -> Counter[str]:
    ear = person.ear
    assert ear is not None
    kept = await person.notices()
    with suppress(AssertionError):  # what is missing is named below
        await until(lambda: {one["id"] for one in kept} <= {one["id"] for one in ear.told()})
    assert (await person.get("/api/notifications/unread-count"))["unread"] == len(kept)
    # What is told of reading comes after all that was told before: from then on nothing is still under way.
    await person.post("/api/notifications/read", {"all": True})
    await until(lambda: [data for data in ear.data("notifications") if data["notification"] is None and data["unread"] == 0] or not kept)
    assert sorted(one["id"] for one in ear.told()) == [one["id"] for one in kept], f"{person.name}: {json.dumps(kept, ensure_ascii=False)}"
    ear.check_whole()
    assert all(one["text"] and (one["link"].startswith("/") or one["kind"] == "member.joined") for one in kept), kept
    return Counter(one["kind"] for one in kept)


@asynccontextmanager
async def university(urls: Sequence[str]) -> AsyncIterator[University]:
    """A university on a server that has only its administrator yet, or on several that share everything."""
    made = University(urls)
    try:
        await made.found()
        yield made
    finally:
        await made.end()
