"""`./manage.sh bench rest`: an authenticated list of 20 users, against Django REST and FastAPI on the same SQLite file."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import sqlalchemy as sa

from benchmarks.processes import DIRECT, PEER_BIN, PEER_CODE, Broken, Child, Server, accepts, ask_json, free_port
from benchmarks.report import Row, note, print_notes, print_table, say
from server.config import Settings
from server.engines.sql import sync_url
from server.people import tokens
from server.people.tables import organization_closure, organizations, role_grants, roles, sessions, users

USERS = 200
CONNECTIONS = 16
HEAD, SCHOOL, SESSION = 1000, 7, 32 * "b"
PATH = "/api/users"


@dataclass(frozen=True)
class Side:
    """One server under load."""

    name: str
    address: str
    token: str
    process: Child


def fill(data: Path) -> None:
    """USERS users in all, each but the administrator with the role of a member."""
    engine = sa.create_engine(sync_url(Settings(data_dir=str(data))))
    now = datetime.now(UTC)
    with engine.begin() as connection:
        admin = connection.execute(sa.select(users)).mappings().first()
        assert admin is not None
        names = [f"user-{number:03}" for number in range(USERS - 1)]
        model = {**admin, "password_hash": None, "created_at": now, "updated_at": now, "last_login_at": now}
        made = [
            {**model, "id": 1000 + number, "username": name, "username_key": name, "name": f"用户 {number}", "email": f"{name}@example.org"}
            for number, name in enumerate(names)
        ]
        connection.execute(users.insert(), [{**row, "email_key": row["email"]} for row in made])
        role = connection.execute(sa.select(roles.c.id).where(roles.c.name != "administrator").limit(1)).scalar_one()
        root = {"role_id": role, "organization_id": admin["organization_id"]}
        connection.execute(role_grants.insert(), [{"user_id": row["id"], **root} for row in made])
        place_in_school(connection, admin["organization_id"], made[0]["id"], now)
    engine.dispose()


def place_in_school(connection: sa.Connection, root: int, head: int, now: datetime) -> None:
    """Everybody in one school, and `head` its administrator, signed in: reads the same list, by rights in that school alone."""
    school = {"id": SCHOOL, "parent_id": root, "name": "school", "code": "school", "kind": "school", "created_at": now}
    connection.execute(organizations.insert().values(**school))
    closure = [(root, SCHOOL, 1), (SCHOOL, SCHOOL, 0)]
    names = ("ancestor_id", "descendant_id", "depth")
    connection.execute(organization_closure.insert(), [dict(zip(names, row, strict=True)) for row in closure])
    connection.execute(users.update().values(organization_id=SCHOOL))
    role = connection.execute(sa.select(roles.c.id).where(roles.c.name == "organization_admin")).scalar_one()
    connection.execute(role_grants.delete().where(role_grants.c.user_id == head))
    connection.execute(role_grants.insert().values(user_id=head, role_id=role, organization_id=SCHOOL))
    session = {"id": SESSION, "user_id": head, "generation": 1, "method": "password", "address": "127.0.0.1", "agent": "bench"}
    connection.execute(sessions.insert().values(**session, created_at=now, seen_at=now, expires_at=now + timedelta(days=1)))


def django_token(secret: str, user_id: str) -> str:
    """What simplejwt would have issued, for the same user."""
    now = datetime.now(UTC)
    claims = {"token_type": "access", "user_id": user_id, "jti": uuid.uuid4().hex, "iat": now, "exp": now + timedelta(hours=1)}
    return jwt.encode({**claims, "aud": "zhihui", "iss": "zhihui"}, secret, algorithm="HS256")


def head_token(secret: str) -> str:
    """An access token of the school's administrator."""
    claims = tokens.Claims(HEAD, SESSION, 1)
    return tokens.issue(secret, "access", claims, now=datetime.now(UTC), life=timedelta(hours=2))


def start_all(stack: ExitStack, folder: Path) -> list[Side]:
    """Ours, twice by different rights, ours without authorization, and the peers.

    The one without authorization has a copy of the file: one server, one data folder.
    """
    data = folder / "data"
    with Server(data):
        pass
    fill(data)
    shutil.copytree(data, folder / "open")
    ours = stack.enter_context(Server(data, access_token_minutes=120))
    unchecked = stack.enter_context(Server(folder / "open", code="benchmarks.open_server"))
    secret, token = ours.secrets["secret_key"], ours.token()
    user = jwt.decode(token, options={"verify_signature": False})["sub"]
    variables = {"BENCH_SECRET": secret, "BENCH_DATABASE": data / "zhihui.db", "PYTHONPATH": PEER_CODE}
    ports = {"fastapi": free_port(), "django": free_port()}
    commands = {
        "fastapi": [PEER_BIN / "uvicorn", "fastapi_app:app", "--port", ports["fastapi"], "--no-access-log", "--log-level", "warning"],
        "django": [PEER_BIN / "daphne", "-b", "127.0.0.1", "-p", ports["django"], "-v", "0", "django_site:application"],
    }
    peers = {}
    for name, command in commands.items():
        peers[name] = stack.enter_context(Child(name, command, folder / name, **variables))  # type: ignore[arg-type]
        peers[name].wait(lambda port=ports[name]: accepts(port), f"{name} listens")  # type: ignore[misc]
    return [
        Side("ours", f"127.0.0.1:{ours.port}", token, ours),
        Side("fastapi", f"127.0.0.1:{ports['fastapi']}", token, peers["fastapi"]),
        Side("django", f"127.0.0.1:{ports['django']}", django_token(secret, user), peers["django"]),
        Side("unchecked", f"127.0.0.1:{unchecked.port}", head_token(secret), unchecked),
        Side("school", f"127.0.0.1:{ours.port}", head_token(secret), ours),
    ]


def check_answer(side: Side) -> None:
    """That 20 users come back with their fields, and that a wrong token is refused where tokens are checked. Raises Broken."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(f"http://{side.address}{PATH}", headers={"Authorization": f"Bearer {side.token}"})
    try:
        answer = json.load(DIRECT.open(request, timeout=30))
    except urllib.error.HTTPError as error:
        raise Broken(f"{side.name}: {error.code} {error.read()[:500]!r}\n{side.process.words()}") from None
    body = answer.get("result", answer)
    items, total = body.get("items", body.get("results")), body.get("total", body.get("count"))
    if len(items) != 20 or total != USERS or not items[1]["roles"] or "last_login_at" not in items[0]:
        raise Broken(f"{side.name} answers something else: {json.dumps(answer)[:500]}")
    wrong = urllib.request.Request(request.full_url, headers={"Authorization": f"Bearer {side.token[:-4]}AAAA"})
    try:
        DIRECT.open(wrong, timeout=30)
    except urllib.error.HTTPError as error:
        if error.code == 401:
            return
    raise Broken(f"{side.name} lets a wrong token in")


def load(side: Side, seconds: int, folder: Path) -> float:
    """Answers a second over CONNECTIONS keep-alive connections. Raises Broken when one is no success."""
    wrk = shutil.which("wrk")
    if wrk:
        command = [
            wrk,
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{seconds}s",
            "-H",
            f"Authorization: Bearer {side.token}",
            f"http://{side.address}{PATH}",
        ]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
        if rate is None or "Non-2xx" in output or "Socket errors" in output:
            raise Broken(f"{side.name} under wrk:\n{output}")
        return float(rate[1])
    command = [sys.executable, "-m", "benchmarks.http_load", side.address, "GET", PATH, "--token", side.token]
    answer = ask_json([*command, "--connections", str(CONNECTIONS), "--seconds", str(seconds)], folder)
    if set(answer["statuses"]) != {"200"} or answer["failed"]:
        raise Broken(f"{side.name}: {answer}")
    return float(answer["rate"])


def run(folder: Path, *, rounds: int, seconds: int) -> None:
    with ExitStack() as stack:
        sides = start_all(stack, folder)
        rates: dict[str, list[float]] = {side.name: [] for side in sides}
        for side in sides:
            check_answer(side)
            load(side, 1, folder)  # imports, caches, pools: the same for all
        for number in range(rounds):
            for side in sides:
                rates[side.name].append(load(side, seconds, folder))
                note(f"round {number + 1}: {side.name} {rates[side.name][-1]:.0f}/s")
        median = {name: statistics.median(those) for name, those in rates.items()}
        report(median, rates, {side.name: side.process.rss_mib for side in sides}, seconds)


def report(median: dict[str, float], rates: dict[str, list[float]], memory: dict[str, float], seconds: int) -> None:
    ours, school, what = median["ours"], median["school"], "list of 20 users"
    cost_us = 1e6 / ours - 1e6 / median["unchecked"]
    print_table(
        [
            Row(what=f"{what}, against Django REST + daphne", ours=ours, unit="/s", peer=median["django"], target=10),
            Row(what=f"{what}, against FastAPI + uvicorn", ours=ours, unit="/s", peer=median["fastapi"], target=1),
            Row(what=f"{what}, against ours without authorization", ours=ours, unit="/s", peer=median["unchecked"], target=0.9),
            Row(what=f"{what}, by rights in one school, against the same", ours=school, unit="/s", peer=median["unchecked"], target=0.9),
            Row(what="authorization, of each request", ours=cost_us, unit="µs"),
            Row(what="the same by rights in one school", ours=1e6 / school - 1e6 / median["unchecked"], unit="µs"),
        ]
    )
    loader = "wrk -t1" if shutil.which("wrk") else "a Python load process"
    print_notes(
        "How it was measured",
        [
            "two shared cores; one process each server; all run all the time, one at a time under load, rounds interleaved, medians",
            f"load: {loader}, {CONNECTIONS} keep-alive connections, {seconds} s a round, one second each beforehand;"
            f" GET {PATH} with a Bearer token",
            f"{USERS} users in one SQLite file (WAL), the same for all; every answer has 20 users with ten fields,"
            f" their roles, and the count",
            "ours: python -m server as it ships (token, session, user and grants checked by a query; request ids, metrics, log)",
            "FastAPI: uvicorn[standard] (uvloop, httptools, no access log), SQLAlchemy 2.1 async ORM on aiosqlite"
            " with its default pool, PyJWT,"
            " session and user by a query, response model by pydantic; three further queries (count, page, roles)",
            "Django: REST framework on daphne, DEBUG off, no middleware, a lasting connection, simplejwt (user by a"
            " query), ModelSerializer,"
            " PageNumberPagination; three further queries (count, page, roles by prefetch)",
            "without authorization: our server that looks up token, session and account, and takes all rights as given;"
            " on a copy of the file",
            "by rights in one school: the same list, whose reader may read in that school alone, where everybody is",
            *(f"{name}: rounds {', '.join(f'{rate:.0f}' for rate in those)} /s; {memory[name]:.0f} MiB" for name, those in rates.items()),
        ],
    )
    say()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./manage.sh bench rest", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run; its figures are rough")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="zhihui-bench-") as folder:
        try:
            run(Path(folder), rounds=2 if options.quick else 5, seconds=2 if options.quick else 5)
        except Broken as problem:
            sys.stderr.write(f"bench: {problem}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
