"""Our SCIM server before a checker that others wrote: scim2-cli, over HTTP, against a running server, on each database."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from server import migrating
from server.config import Settings
from tests.integration.house import PASSWORD
from tests.integration.running_server import DIRECT, RunningServer
from tests.peers.mariadb import MariaDb
from tests.peers.scim_cli import check, checker

pytestmark = pytest.mark.integration


@pytest.fixture(params=["embedded", "mariadb"])
def server(request: pytest.FixtureRequest, data: Path, tmp_path: Path) -> Iterator[RunningServer]:
    settings = {"admin_password": PASSWORD, "rate_limit": "off"}
    if request.param == "embedded":
        with RunningServer(data, **settings) as running:
            yield running
        return
    mariadb: MariaDb = request.getfixturevalue("mariadb")
    with mariadb.database() as database:
        migrating.migrate(Settings(data_dir=str(tmp_path), **database))
        with RunningServer(tmp_path / "data-mariadb", **settings, **database) as running:
            yield running


def ask(method: str, url: str, token: str = "", body: dict[str, Any] | None = None) -> Any:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)
    with DIRECT.open(request, timeout=30) as answer:
        return json.load(answer)


def make_key(url: str) -> str:
    """An API key for nothing but SCIM."""
    token = ask("POST", f"{url}/api/auth/login", body={"username": "admin", "password": PASSWORD})["result"]["access_token"]
    made = ask("POST", f"{url}/api/auth/api-keys", token, {"name": "scim", "scopes": ["scim:manage"]})
    return str(made["result"]["key"])


def test_no_check_fails(server: RunningServer, tmp_path: Path) -> None:
    command = checker()
    verdict = check(command, f"{server.url}/scim/v2", make_key(server.url), tmp_path)
    assert verdict.failed == [], verdict.output
    assert verdict.exit_status == 0, verdict.output
    assert len(verdict.checks) > 100


def test_filters_find_the_same_on_each_database(server: RunningServer) -> None:
    key, users = make_key(server.url), f"{server.url}/scim/v2/Users"
    ask(
        "POST",
        users,
        key,
        {"userName": "Anna", "externalId": "A1", "displayName": "Anna", "emails": [{"value": "anna@x.example", "type": "work"}]},
    )
    ask("POST", users, key, {"userName": "ben", "active": False, "emails": [{"value": "b@x.example"}, {"value": "b_2@x.example"}]})
    group = ask("POST", f"{server.url}/scim/v2/Groups", key, {"displayName": "合唱团", "members": [{"value": "2"}, {"value": "3"}]})
    for source, found in {
        'userName eq "ANNA"': ["Anna"],
        'externalId eq "A1"': ["Anna"],
        'externalId eq "a1"': [],
        'emails eq "ANNA@X.example"': ["Anna"],
        'emails.value eq "B_2@x.example"': ["ben"],
        'emails.value eq "bx2@x.example"': [],
        "active eq false": ["ben"],
        "active eq true": ["Anna", "admin"],
        'displayName eq "ANNA"': ["Anna"],
        'meta.lastModified gt "2020-01-01T00:00:00Z" and userName ne "admin"': ["Anna", "ben"],
        f'groups.value eq "{group["id"]}"': ["Anna", "ben"],
    }.items():
        listed = ask("GET", f"{users}?filter={quote(source)}", key)["Resources"]
        assert sorted(one["userName"] for one in listed) == found, source
    by_name = [one["userName"] for one in ask("GET", f"{users}?sortBy=userName&count=2", key)["Resources"]]
    assert by_name == ["admin", "Anna"]
