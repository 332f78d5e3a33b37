"""The SCIM server itself: who may, what it says of itself, errors in SCIM's form, and bulk requests."""

from __future__ import annotations

import pytest

from tests.api.scim.scim_client import ENTERPRISE, GROUP, USER, Scim

BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"


@pytest.mark.gen_test
async def test_errors_before_the_action_are_scims_too(scim: Scim) -> None:
    nobody = scim.with_key("")
    for path in ("/Users", "/ServiceProviderConfig", "/nowhere"):
        answer = await nobody.get(path)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), path
    assert (await scim.with_key("zk_0000").get("/Users")).status == 401
    assert (await scim.get("/nowhere/at/all")).status == 404
    assert (await scim.ask("POST", "/nowhere", {})).status == 404
    refused = await scim.ask("DELETE", "/Users")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, POST, HEAD")
    assert (await scim.get("/Users/none")).status == 404


@pytest.mark.gen_test
async def test_it_describes_itself(scim: Scim) -> None:
    config = (await scim.get("/ServiceProviderConfig")).document
    assert {name: config[name]["supported"] for name in ("patch", "bulk", "filter", "sort", "etag", "changePassword")} == dict.fromkeys(
        ("patch", "bulk", "filter", "sort", "etag", "changePassword"), True
    )
    types = (await scim.get("/ResourceTypes")).document
    assert [(one["id"], one["endpoint"]) for one in types["Resources"]] == [("User", "/Users"), ("Group", "/Groups")]
    assert (await scim.get("/ResourceTypes/User")).document["schemaExtensions"] == [{"schema": ENTERPRISE, "required": False}]
    schemas = (await scim.get("/Schemas")).document["Resources"]
    assert [one["id"] for one in schemas] == [USER, ENTERPRISE, GROUP]
    for one in schemas:
        assert (await scim.get(f"/Schemas/{one['id']}")).document == one
    assert (await scim.get("/Schemas/urn:none")).status == 404


@pytest.mark.gen_test
async def test_bulk_resolves_references_in_any_order(scim: Scim) -> None:
    body = {
        "schemas": [BULK],
        "Operations": [
            {
                "method": "POST",
                "path": "/Groups",
                "bulkId": "g",
                "data": {"schemas": [GROUP], "displayName": "Bulk", "members": [{"value": "bulkId:u"}]},
            },
            {"method": "POST", "path": "/Users", "bulkId": "u", "data": {"schemas": [USER], "userName": "bulky"}},
            {
                "method": "PATCH",
                "path": "/Users/bulkId:u",
                "data": {"Operations": [{"op": "add", "path": "title", "value": "Dr"}]},
            },
            {"method": "DELETE", "path": "/Users/999"},
            {"method": "POST", "path": "/Users", "bulkId": "x", "data": {"userName": "bulky"}},
            {"method": "PUT", "path": "/Users/bulkId:x", "data": {"userName": "other"}},
        ],
    }
    told = (await scim.ask("POST", "/Bulk", body)).document["Operations"]
    assert [one["status"] for one in told] == ["201", "201", "200", "404", "409", "400"]
    assert told[4]["response"]["scimType"] == "uniqueness"
    group = (await scim.get("/Groups/" + told[0]["location"].rpartition("/")[2])).document
    assert group["members"][0]["$ref"] == told[1]["location"]
    assert (await scim.find('/Users?filter=title%20eq%20"dr"')) == ["bulky"]


@pytest.mark.gen_test
async def test_bulk_stops_after_so_many_errors(scim: Scim) -> None:
    operations = [{"method": "DELETE", "path": "/Users/999"} for _ in range(5)]
    answer = await scim.ask("POST", "/Bulk", {"schemas": [BULK], "failOnErrors": 2, "Operations": operations})
    assert [one["status"] for one in answer.document["Operations"]] == ["404", "404"]
    for wrong in ({}, {"Operations": []}, {"Operations": [{"method": "GET", "path": "/Users"}]}, {"Operations": [1]}):
        assert (await scim.ask("POST", "/Bulk", wrong)).scim_type == "invalidSyntax"
    assert (await scim.ask("POST", "/Bulk", {"Operations": operations * 201})).status == 413
