"""/api/openapi.json: OpenAPI 3.1, generated from the routes and the types of their verbs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Any

import msgspec
from tornado.routing import URLSpec

from handlers.answering import Envelope, ErrorEnvelope
from handlers.base import ApiHandler
from handlers.operation import Operation, operation, operations_of
from server import __version__
from server.scopes import ANYONE, SIGNED_IN

_NAMED = re.compile(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)")


def template(pattern: str) -> str:
    """The path of a route with its parameters in braces: `/run/(?P<run_id>…)` is `/run/{run_id}`."""
    return _NAMED.sub(r"{\1}", pattern).replace("\\.", ".").removesuffix("$").removesuffix("?")


def document(routes: Iterable[tuple[str, type[Any]]]) -> dict[str, Any]:
    """The OpenAPI document of a route table."""
    found = [(template(pattern), method, declared) for pattern, handler in routes for method, declared in operations_of(handler).items()]
    kinds: list[Any] = [Envelope, ErrorEnvelope]
    for _, _, declared in found:
        kinds += [kind for kind in (declared.body, declared.query, declared.result, declared.upload) if kind not in (None, type(None))]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    by_kind = {_key(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for path, method, declared in found:
        paths.setdefault(path, {})[method.lower()] = _verb(path, method, declared, by_kind, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "智汇 Zhihui", "version": __version__, "description": "Every answer is an envelope: code, message, result."},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An access token, an API key or the module key."}
            },
        },
    }


def _key(kind: Any) -> str:
    return repr(kind)


def _verb(path: str, method: str, declared: Operation, by_kind: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in re.findall(r"{(\w+)}", path)]
    if declared.query is not None:
        parameters += _query(by_kind[_key(declared.query)], components)
    verb: dict[str, Any] = {
        "operationId": f"{method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', path)}".rstrip("_"),
        "summary": declared.summary,
        "tags": [path.removeprefix("/api").strip("/").split("/")[0] or "api"],
        "responses": {
            "200": _answer(declared, by_kind),
            "default": {"description": "An error.", "content": _json({"$ref": "#/components/schemas/ErrorEnvelope"})},
        },
    }
    if parameters:
        verb["parameters"] = parameters
    if declared.body is not None and not (declared.bare_form and method == "GET"):
        verb["requestBody"] = {"required": True, "content": _json(by_kind[_key(declared.body)])}
    elif declared.upload is not None:
        verb["requestBody"] = {"required": True, "content": _form(by_kind[_key(declared.upload)])}
    elif declared.body is not None:
        verb["parameters"] = parameters + _query(by_kind[_key(declared.body)], components)
    if declared.scope != ANYONE:
        verb["security"] = [{"bearer": []}]
        verb["x-scope"] = declared.scope if declared.scope != SIGNED_IN else "any signed-in caller"
    if declared.idempotent:
        header = {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {"type": "string", "maxLength": 200}}
        verb["parameters"] = [*verb.get("parameters", []), header]
    return verb


def _answer(declared: Operation, by_kind: dict[str, Any]) -> dict[str, Any]:
    if declared.raw and declared.result in (None, type(None)):
        return {"description": declared.summary}
    result = by_kind[_key(declared.result)] if declared.result not in (None, type(None)) else {}
    envelope = {"allOf": [{"$ref": "#/components/schemas/Envelope"}, {"type": "object", "properties": {"result": result}}]}
    return {"description": "The answer.", "content": _json(envelope)}


def _form(fields: dict[str, Any]) -> dict[str, Any]:
    """A multipart form: one or more files called `file`, and the fields."""
    files = {"type": "array", "items": {"type": "string", "contentMediaType": "application/octet-stream"}}
    schema = {"allOf": [{"type": "object", "properties": {"file": files}, "required": ["file"]}, fields]}
    return {"multipart/form-data": {"schema": schema}}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _query(schema: dict[str, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of a query type as parameters."""
    body = components[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
    required = set(body.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": field} for name, field in body.get("properties", {}).items()
    ]


class OpenApiHandler(ApiHandler):
    @operation(ANYONE, "This description, as OpenAPI 3.1.", raw=True)
    async def get(self) -> None:
        described = self.settings.get("openapi")
        if described is None:
            routes = [(rule.regex.pattern, rule.target) for rule in _rules(self.application)]
            described = msgspec.json.encode(await asyncio.to_thread(document, routes))
            self.settings["openapi"] = described
        self.set_header("Cache-Control", "no-cache")
        self.finish(described)


def _rules(application: Any) -> list[Any]:
    return [rule for rule in application.wildcard_router.rules if isinstance(rule, URLSpec)]


routes = [(r"/api/openapi\.json", OpenApiHandler)]
