"""Lists over SCIM: filters, orders, pages, and what of a resource is shown."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

import server.people.scim.searching as searching
from tests.api.scim.scim_client import ENTERPRISE, Scim

SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"


def where(source: str, more: str = "") -> str:
    return f"/Users?filter={quote(source)}{more}"


async def people(scim: Scim) -> None:
    await scim.user("anna", displayName="Anna", externalId="A1", emails=[{"value": "anna@x.example", "type": "work", "primary": True}])
    await scim.user("Ben", displayName="Ben", active=False, title="Dr", emails=[{"value": "b@x.example"}, {"value": "ben_2@y.example"}])
    await scim.user("cleo", nickName='C "the" O', **{ENTERPRISE: {"department": "Physics"}})


@pytest.mark.gen_test
async def test_filters_find_what_they_name(scim: Scim) -> None:
    await people(scim)
    for source, found in {
        'userName eq "BEN"': ["Ben"],
        'USERNAME Eq "ben"': ["Ben"],
        'urn:ietf:params:scim:schemas:core:2.0:User:userName sw "CL"': ["cleo"],
        'externalId eq "A1"': ["anna"],
        'externalId eq "a1"': [],
        'emails eq "ANNA@x.example"': ["anna"],
        'emails.value eq "ben_2@Y.example"': ["Ben"],
        'emails.value eq "benx2@y.example"': [],
        'emails[type eq "work" and value co "@x"]': ["anna"],
        'emails[type eq "work"].value eq "anna@x.example"': ["anna"],
        'emails[type eq "home"].value eq "anna@x.example"': [],
        "active eq false": ["Ben"],
        'active eq "False"': ["Ben"],
        "active eq true": ["admin", "anna", "cleo"],
        'id eq "1"': ["admin"],
        'id eq "01"': [],
        'displayName eq "anna"': ["anna"],
        f'{ENTERPRISE}:department eq "physics"': ["cleo"],
        "title pr": ["Ben"],
        'not (title pr) and userName ne "admin"': ["anna", "cleo"],
        'title eq "dr" or nickName eq "C \\"the\\" O"': ["Ben", "cleo"],
        'userName eq "anna" and (active eq false or externalId pr)': ["anna"],
        'userName eq "anna" or userName eq "Ben" and active eq true': ["anna"],
        'meta.lastModified ge "2020-01-01T00:00:00Z" and userName ew "o"': ["cleo"],
        'meta.created lt "2020-01-01T00:00:00Z"': [],
        "nickName eq null and externalId ne null": ["anna"],
    }.items():
        assert await scim.find(where(source)) == found, source


@pytest.mark.gen_test
async def test_wrong_filters_are_told_so(scim: Scim) -> None:
    for source in [
        "userName",
        "userName eq",
        'userName xx "a"',
        'userName eq "a',
        'userName eq "a" and',
        '(userName eq "a"',
        'unknown eq "a"',
        "active gt true",
        "userName gt 5",
        'meta.created co "2020"',
        'emails[unknown eq "a"]',
        'emails[type eq "a"',
        "userName eq a",
        "(" * 50 + 'userName eq "a"' + ")" * 50,
        "x" * 5000,
        'not userName eq "a"',
    ]:
        answer = await scim.get(where(source))
        assert (answer.status, answer.scim_type) == (400, "invalidFilter"), (source, answer)


@pytest.mark.gen_test
async def test_pages_and_orders(scim: Scim) -> None:
    await people(scim)
    first = (await scim.get("/Users?startIndex=0&count=2")).document
    assert (first["totalResults"], first["startIndex"], first["itemsPerPage"]) == (4, 1, 2)
    assert [one["userName"] for one in first["Resources"]] == ["admin", "anna"]
    assert await scim.find("/Users?startIndex=3&count=2") == ["Ben", "cleo"]
    assert await scim.find("/Users?startIndex=9") == []
    none = (await scim.get("/Users?count=0")).document
    assert (none["totalResults"], none["Resources"]) == (4, [])
    assert (await scim.get("/Users?count=-3")).document["itemsPerPage"] == 0
    assert await scim.find("/Users?sortBy=userName&sortOrder=descending") == ["cleo", "Ben", "anna", "admin"]
    assert await scim.find("/Users?sortBy=emails") == ["anna", "Ben", "admin", "cleo"]
    assert await scim.find("/Users?sortBy=externalId&count=1") == ["anna"]
    assert await scim.find(where("title pr or externalId pr", "&startIndex=2&count=5")) == ["Ben"]
    for wrong in ("count=x", "startIndex=1.5", "sortOrder=up", "sortBy=unknown"):
        assert (await scim.get(f"/Users?{wrong}")).scim_type == "invalidValue", wrong
    assert (await scim.get("/Users?aadOptscim062020")).status == 200


@pytest.mark.gen_test
async def test_only_what_is_wanted_is_shown(scim: Scim) -> None:
    await people(scim)

    async def names(query: str) -> set[str]:
        (one,) = (await scim.get(where('userName eq "anna"', f"&{query}"))).document["Resources"]
        return set(one)

    assert await names("attributes=userName,emails.value") == {"schemas", "id", "userName", "emails"}
    assert await names("attributes=unknown") == {"schemas", "id"}
    everything = await names("")
    assert await names("excludedAttributes=emails,id,meta.version") == everything - {"emails"}
    made = await scim.user("dora", title="Dr")
    shown = await scim.get(f"/Users/{made['id']}?attributes=title")
    assert set(shown.document) == {"schemas", "id", "title"}
    assert shown.headers["ETag"] == made["meta"]["version"]


@pytest.mark.gen_test
async def test_search_over_everything(scim: Scim) -> None:
    await people(scim)
    await scim.group("Choir")
    body: dict[str, Any] = {"schemas": [SEARCH], "filter": 'displayName sw "C" or userName sw "c"', "attributes": ["displayName"]}
    found = (await scim.ask("POST", "/.search", body)).document
    assert [one.get("displayName") for one in found["Resources"]] == [None, "Choir"]
    page = (await scim.ask("POST", "/.search", {"schemas": [SEARCH], "startIndex": 4, "count": 2})).document
    assert [one["meta"]["resourceType"] for one in page["Resources"]] == ["User", "Group"]
    assert page["totalResults"] == 6
    assert (await scim.ask("POST", "/Users/.search", {"filter": "title pr", "count": 1})).document["totalResults"] == 1
    assert (await scim.ask("POST", "/Groups/.search", {"sortBy": "displayName"})).document["totalResults"] == 2
    assert (await scim.ask("POST", "/.search", {"count": "x"})).scim_type == "invalidValue"
    assert (await scim.ask("POST", "/.search", {"schemas": ["urn:other"]})).scim_type == "invalidSyntax"


@pytest.mark.gen_test
async def test_what_would_take_too_long_is_refused(scim: Scim, monkeypatch: pytest.MonkeyPatch) -> None:
    await people(scim)
    monkeypatch.setattr(searching, "MOST_LOOKED_AT", 3)
    assert (await scim.get(where("title pr"))).scim_type == "tooMany"
    assert await scim.find(where('userName eq "ben" and title pr')) == ["Ben"]
    assert (await scim.get("/Users")).status == 200


@pytest.mark.gen_test
async def test_portions_join(scim: Scim, monkeypatch: pytest.MonkeyPatch) -> None:
    await people(scim)
    monkeypatch.setattr(searching, "AT_ONCE", 2)
    assert await scim.find(where("userName pr")) == ["admin", "anna", "Ben", "cleo"]
