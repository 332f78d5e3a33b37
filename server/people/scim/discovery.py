"""What our SCIM server says of itself: its configuration, its kinds of resources and their schemas (RFC 7643, 5 to 7)."""

from __future__ import annotations

from typing import Any

from server.people.scim.errors import ResourceNotFound
from server.people.scim.schema_model import CORE, Attribute, ResourceKind
from server.people.scim.schemas import KINDS
from server.people.scim.searching import LARGEST_PAGE

MOST_BULK_OPERATIONS = 1000


def configuration(base: str, largest_body: int) -> dict[str, Any]:
    """`largest_body` in bytes."""
    return {
        "schemas": [f"{CORE}:ServiceProviderConfig"],
        "patch": {"supported": True},
        "bulk": {"supported": True, "maxOperations": MOST_BULK_OPERATIONS, "maxPayloadSize": largest_body},
        "filter": {"supported": True, "maxResults": LARGEST_PAGE},
        "changePassword": {"supported": True},
        "sort": {"supported": True},
        "etag": {"supported": True},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer token",
                "description": "An API key of this system, or an access token, with the scope scim:manage.",
                "specUri": "https://www.rfc-editor.org/rfc/rfc6750",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{base}/ServiceProviderConfig"},
    }


def resource_types(base: str) -> list[dict[str, Any]]:
    return [_resource_type(kind, base) for kind in KINDS]


def schemas(base: str) -> list[dict[str, Any]]:
    described: list[dict[str, Any]] = []
    for kind in KINDS:
        described.append(_schema(kind.urn, kind.name, kind.description, kind.attributes, base))
        if kind.extension_urn:
            described.append(_schema(kind.extension_urn, "EnterpriseUser", "What institutions add to a user.", kind.extension, base))
    return described


def get_named(described: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The one of this id. Raises ResourceNotFound."""
    for one in described:
        if one["id"] == name:
            return one
    raise ResourceNotFound()


def _resource_type(kind: ResourceKind, base: str) -> dict[str, Any]:
    extensions = [{"schema": kind.extension_urn, "required": False}] if kind.extension_urn else []
    return {
        "schemas": [f"{CORE}:ResourceType"],
        "id": kind.name,
        "name": kind.name,
        "endpoint": kind.endpoint,
        "description": kind.description,
        "schema": kind.urn,
        **({"schemaExtensions": extensions} if extensions else {}),
        "meta": {"resourceType": "ResourceType", "location": f"{base}/ResourceTypes/{kind.name}"},
    }


def _schema(urn: str, name: str, description: str, attributes: tuple[Attribute, ...], base: str) -> dict[str, Any]:
    return {
        "schemas": [f"{CORE}:Schema"],
        "id": urn,
        "name": name,
        "description": description,
        "attributes": [_attribute(one) for one in attributes],
        "meta": {"resourceType": "Schema", "location": f"{base}/Schemas/{urn}"},
    }


def _attribute(attribute: Attribute) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": attribute.name,
        "type": attribute.type,
        "multiValued": attribute.multi,
        "description": attribute.description,
        "required": attribute.required,
        "caseExact": attribute.case_exact,
        "mutability": attribute.mutability,
        "returned": attribute.returned,
        "uniqueness": attribute.uniqueness,
    }
    if attribute.canonical:
        described["canonicalValues"] = list(attribute.canonical)
    if attribute.references:
        described["referenceTypes"] = list(attribute.references)
    if attribute.sub:
        described["subAttributes"] = [_attribute(one) for one in attribute.sub]
    return described
