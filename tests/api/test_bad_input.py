"""What no client should send, on every route that takes a body: always an envelope, never a failure of ours."""

from __future__ import annotations

from typing import Any

import pytest

from server.config import Settings
from server.context import Context
from tests.api.client import Api
from tests.api.module import FakeModule
from tests.api.test_access import verbs
from tests.embedded import settings_in

NOBODY = 32 * "0"
BODIES = [
    b"",
    b"{",
    b"nonsense",
    b"null",
    b"[]",
    b"5",
    b'"text"',
    b'{"unknown": 1}',
    b'{"name": "\\ud800"}',
    b'{"name": "\xff"}',
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
    b"{}{}",
    b'{"name": NaN}',
    b'{"name": 1e999}',
    b'{"name": ' + b"9" * 5000 + b"}",
    b'{"a": 1, "a": 2}',
    b"[" * 100_000,
    b"[" * 150 + b"]" * 150,
    b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    b"\x00" * 1000,
    b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--\r\n",
    b"a=1&" * 2000,
]
TYPES = ["application/json", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""]


TAKING = [(method, path) for method, path, _ in verbs() if method != "GET"]
GIVING = sorted({path for method, path, _ in verbs() if method == "GET"})


@pytest.mark.parametrize(("method", "path"), TAKING, ids=lambda part: part)
@pytest.mark.gen_test(timeout=60)
async def test_no_body_breaks_anything(api: Api, method: str, path: str) -> None:
    if path == "/api/auth/logout":
        return  # takes no body, and would end the caller
    for body in BODIES:
        answer = await api.request(method, path, body=body)
        assert answer.status < 500, (body[:50], answer)
    for content_type in TYPES:
        answer = await api.request(method, path, body=b"name=a&x=1", headers={"Content-Type": content_type})
        assert answer.status < 500, (content_type, answer)


QUERIES = [
    "page=99999999999999999999999",
    "page=-1",
    "page_size=1000000",
    "page=1&page=2",
    "sort=%00",
    "q=%00",
    "q=%ff%fe",
    "q=%25%25%25",
    "q=" + "%E4" * 300,
    "at=%00",
    "from=%F0%9F%98%80",
    "&".join(f"a{number}=1" for number in range(500)),
    "=&=&==&&&;",
    "%",
    "q[]=1&q[a]=2",
]


@pytest.mark.parametrize("path", GIVING)
@pytest.mark.gen_test(timeout=60)
async def test_no_query_breaks_anything(api: Api, path: str, workflow: dict[str, Any]) -> None:
    path = path.replace(f"/workflow/{NOBODY}", f"/workflow/{workflow['id']}")
    for query in QUERIES:
        answer = await api.get(f"{path}?{query}")
        assert answer.status < 500, (query[:50], answer)


@pytest.mark.holds_loop  # the client, on the same loop, handles megabytes, too
@pytest.mark.gen_test
async def test_ten_megabytes_are_too_much(api: Api, anonymous: Api) -> None:
    for path in ("/workflow/create", "/workflow/preview", "/module/register", "/api/calendars/x/import"):
        answer = await api.post(path, body=b'{"name": "' + b"x" * (10 << 20) + b'"}')
        assert (answer.status, answer.type) == (413, "too_large"), path
        assert "8 MiB" in answer.envelope["message"]
    assert (await anonymous.post("/api/auth/login", body=b" " * (10 << 20))).status == 413
    assert (await api.get("/module/list")).result == []


@pytest.mark.holds_loop  # the client, on the same loop, handles megabytes, too
@pytest.mark.gen_test
async def test_what_just_fits_is_taken(api: Api, module: FakeModule) -> None:
    args = {"text": "x" * (7 << 20)}
    made = await api.post("/workflow/create", {"name": "w", "execute_modules": [{**module.step, "args": args}]})
    assert made.status == 200


@pytest.mark.gen_test
async def test_deep_nesting_is_told_so(api: Api, module: FakeModule, ctx: Context) -> None:
    def body(depth: int) -> bytes:
        return (
            b'{"name": "w%d", "execute_modules": [{"module_hash": "%s", "args": {"a": ' % (depth, module.hash.encode())
            + b"[" * depth
            + b"]" * depth
            + b"}}]}"
        )

    for depth in (97, 200, 500, 800, 900, 940, 960, 980, 990, 1000, 2000, 5000):
        answer = await api.post("/workflow/create", body=body(depth), headers={"Accept-Language": "en"})
        assert (answer.status, answer.type) == (400, "malformed"), depth
    assert "100" in (await api.post("/workflow/create", body=body(200))).envelope["message"]
    made = await api.post("/workflow/create", body=body(90))
    assert made.status == 200
    run = (await api.post(f"/workflow/{made.result['id']}/execute", body=b"{}")).result["run_id"]
    assert (await module.frame())["args"]["a"]
    assert (await api.get(f"/run/{run}")).status == 200
    assert (await api.get("/workflow/list")).status == 200


@pytest.mark.gen_test
async def test_odd_text_comes_back_as_it_went(api: Api, module: FakeModule) -> None:
    for number, name in enumerate(
        [
            "a\x00b",
            "\u202eright to left",
            "😀" * 40,
            "'; drop table workflows; --",
            "<script>alert(1)</script>",
            "a\r\nSet-Cookie: x=1",
            " ",
            "%s%n{0}{name}",
            "\x7f\x1b[31m",
        ]
    ):
        made = (
            await api.post(
                "/workflow/create",
                {"name": name, "description": name, "execute_modules": [{**module.step, "name": f"s{number}", "args": {name: name}}]},
            )
        ).result
        assert made["name"] == made["description"] == name
        assert (await api.get(f"/workflow/{made['id']}")).result["execute_modules"][0]["args"] == {name: name}
        taken = await api.post("/workflow/create", {"name": name, "execute_modules": [module.step]})
        assert taken.fields == ["name"]
    for step_name in ("{0}", "{name}", "%s", "{"):
        refused = await api.post("/workflow/create", {"name": "x", "execute_modules": [{**module.step, "depends_on": [step_name]}]})
        assert step_name in str(refused.error["fields"])


@pytest.mark.gen_test
async def test_both_languages(api: Api) -> None:
    for header, sentence in [
        ("en", "There is no such module."),
        ("zh-CN", "没有这个模块。"),
        ("", "没有这个模块。"),
        ("en;q=0.5, zh;q=0.9", "没有这个模块。"),
    ]:
        answer = await api.get(f"/module/{NOBODY}", headers={"Accept-Language": header})
        assert answer.envelope["message"] == sentence
    wrong = await api.post("/workflow/create", {"name": 5}, headers={"Accept-Language": "en-GB"})
    assert wrong.error["fields"] == {"name": ["Expected str, got int."]}


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/api/nowhere",
        "/module",
        "/module/",
        "/workflow/",
        "/run/xyz",
        "//",
        "/api/auth/login/",
        "/..%2f..%2fetc/passwd",
        "/%00",
        "/%ff",
        "/" + "a" * 5000,
    ],
)
@pytest.mark.gen_test
async def test_where_nothing_is(anonymous: Api, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await anonymous.request(method, path, body=b"{}" if method == "POST" else None)
        assert (answer.status, answer.type) == (404, "route_not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/module/list", {"GET", "HEAD"}),
        ("POST", "/module/list", {"GET", "HEAD"}),
        ("GET", "/workflow/create", {"POST"}),
        ("PATCH", "/workflow/1", {"GET", "PUT", "DELETE", "HEAD"}),
        ("PUT", "/module/register", {"GET", "POST"}),
        ("OPTIONS", "/api/auth/login", {"POST"}),
        ("OPTIONS", "/module/list", {"GET", "HEAD"}),
        ("TRACE", "/module/list", {"GET", "HEAD"}),
        ("HEAD", "/workflow/create", {"POST"}),
    ],
)
@pytest.mark.gen_test
async def test_a_method_that_is_not_taken(api: Api, method: str, path: str, allowed: set[str]) -> None:
    answer = await api.request(method, path, body=b"{}" if method in ("POST", "PUT", "PATCH") else None)
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(", ")) == allowed
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.gen_test
async def test_head_is_get_without_the_body(api: Api, anonymous: Api) -> None:
    for path in ("/health/live", "/health/ready", "/module/list", "/api/users", "/api/auth/me", "/metrics", "/api/", "/api/openapi.json"):
        answer = await api.request("HEAD", path)
        assert answer.status == 200, path
        assert int(answer.headers["Content-Length"]) > 10, path
    assert (await anonymous.request("HEAD", "/module/list")).status == 401


class TestSmallBodies:
    @pytest.fixture
    def settings(self, tmp_path: Any) -> Settings:
        return settings_in(tmp_path / "data", max_body_mb=1)

    @pytest.mark.gen_test
    async def test_the_limit_is_a_setting(self, api: Api) -> None:
        refused = await api.post("/workflow/create", body=b" " * ((1 << 20) + 1))
        assert (refused.status, refused.type) == (413, "too_large")
        assert "1 MiB" in refused.envelope["message"]
        assert (await api.post("/workflow/create", body=b" " * (1 << 20))).status == 400
