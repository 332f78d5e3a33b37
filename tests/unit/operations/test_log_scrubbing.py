"""No secret passes the scrubber, and ordinary words stay as they are."""

from __future__ import annotations

import pytest

from server.config import Settings
from server.log_scrubbing import HIDDEN, Scrubber, scrub_query, secret_values

SECRET = "s3cr3t-Value.x/9"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "line",
    [
        f"Authorization: Bearer {SECRET}",
        f"{{'Authorization': 'Bearer {SECRET}', 'Host': 'a'}}",
        f"headers: {{'Cookie': 'session={SECRET}'}}",
        f"Proxy-Authorization: Basic {SECRET}",
        f"bearer {SECRET} was refused",
        f"GET /module/register?name=a&key={SECRET}&b=1",
        f"GET /ws/events?ticket={SECRET}",
        f"HTTPServerRequest(uri='/cas?next=/&code={SECRET}', version='HTTP/1.1')",
        f'{{"password": "{SECRET}", "username": "admin"}}',
        f'{{"password":"two words {SECRET}"}}',
        f'{{\\"new_password\\": \\"{SECRET}\\"}}',
        f"login(password='{SECRET}')",
        f"access_token={SECRET}&x=1",
        f'"refresh_token": "{SECRET}"',
        f"client_secret: {SECRET}",
        f"api-key = {SECRET}",
        f"EMAIL_HOST_PASSWORD={SECRET}",
        f"zk_{'a1B2' * 8} was revoked".replace("zk_", f"zk_{SECRET.split('.')[0]}"),
        f"token {JWT}".replace("c2lnbmF0dXJl", SECRET.split(".")[0]),
        f"redis://:{SECRET.replace('/', '_')}@cache:6379/0".replace(SECRET.replace("/", "_"), "s3cr3t-Value"),
        "mongodb://root:s3cr3t-Value@db:27017",
        "$argon2id$v=19$m=65536,t=3,p=4$s3cr3t-Value$abc",
    ],
)
def test_secrets_are_hidden_by_shape_and_by_name(line: str) -> None:
    scrubbed = Scrubber().scrub(line)
    assert "s3cr3t-Value" not in scrubbed
    assert HIDDEN in scrubbed


@pytest.mark.parametrize(
    "line",
    [
        "the token bucket is full",
        "KeyError: 'prices'",
        "max_tokens=512",
        "ACCESS_TOKEN_MINUTES=15",
        "password must have at least 8 characters",
        "工作流 prices 的密钥已更新",
        "GET /workflow/1/runs?page=2 200 1.2ms",
        "http://127.0.0.1:10080/health/",
        "the key of the row is 7",
        "exit code=3",
        "serving on http://127.0.0.1:10080, pid 7",
    ],
)
def test_ordinary_lines_pass_unchanged(line: str) -> None:
    assert Scrubber().scrub(line) == line


def test_the_values_of_the_settings_secrets_are_hidden_wherever_they_stand() -> None:
    settings = Settings(
        secret_key="k" * 40,
        mysql_password="pa ss'wo\"rd",
        redis_url="redis://u:deep-in-the-url@h",
        metrics_token="metrics-1",
        ark_api_key="",
    )
    scrubber = Scrubber(secret_values(settings))
    line = f"{'k' * 40} | pa ss'wo\"rd | pa ss'wo\\\"rd | deep-in-the-url | metrics-1"
    assert scrubber.scrub(line) == " | ".join([HIDDEN] * 5)


def test_values_learned_later_are_hidden_too_and_short_ones_are_left_alone() -> None:
    scrubber = Scrubber()
    scrubber.hide(["generated-password", "abc"])
    assert scrubber.scrub("generated-password abc") == f"{HIDDEN} abc"


def test_a_longer_secret_is_hidden_whole_though_a_shorter_one_begins_it() -> None:
    assert Scrubber(["secret-one", "secret-one-and-more"]).scrub("x secret-one-and-more y") == f"x {HIDDEN} y"


@pytest.mark.parametrize(
    ("address", "logged"),
    [
        ("/a?key=1234&x=2", f"/a?key={HIDDEN}&x=2"),
        ("/websocket?hash=abc", "/websocket?hash=abc"),
        ("/ws/events?ticket=t", f"/ws/events?ticket={HIDDEN}"),
        ("/?code=one-time", f"/?code={HIDDEN}"),
        ("/x?a=1;api_key=zzz&access_token=q", f"/x?a=1;api_key={HIDDEN}&access_token={HIDDEN}"),
        ("/plain", "/plain"),
    ],
)
def test_query_parameters_that_are_keys_are_hidden(address: str, logged: str) -> None:
    assert scrub_query(address) == logged
