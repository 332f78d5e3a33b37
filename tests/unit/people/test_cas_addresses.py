"""The addresses of single sign-on: theirs as they are registered, ours only within this site."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from server.config import Settings
from server.errors import Invalid
from server.people.cas import check_next, ui_address
from server.people.cas_client import login_address, server_url, service_url


def test_the_service_is_told_letter_by_letter() -> None:
    exact = "https://zh.example/cas/callback?x=1&y=ä"
    settings = Settings(bupt_cas_server_url="https://cas.example/cas/", bupt_cas_service_url=exact)
    address = urlsplit(login_address(settings))
    assert (address.netloc, address.path) == ("cas.example", "/cas/login")
    assert parse_qs(address.query) == {"service": [exact]}
    assert parse_qs(urlsplit(login_address(settings, renew=True, gateway=True)).query) == {"service": [exact], "renew": ["true"]}
    assert parse_qs(urlsplit(login_address(settings, gateway=True)).query)["gateway"] == ["true"]


def test_without_a_setting_the_service_is_our_own_address() -> None:
    assert service_url(Settings(public_url="https://zh.example/")) == "https://zh.example/cas/callback"
    assert server_url(Settings()) == ""


@pytest.mark.parametrize("page", ["/", "/#/runs/1?x=2", "/documents?q=a b", "/智汇", "/a//b", "/@evil.example"])
def test_pages_of_this_site(page: str) -> None:
    check_next(page)


@pytest.mark.parametrize(
    "page",
    [
        "",
        "x",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        " /",
        "/a\\b",
        "/a\r\nX: y",
        "/\t/evil.example",
        "/\x00",
        "/" + "x" * 2000,
    ],
)
def test_pages_elsewhere_are_refused(page: str) -> None:
    with pytest.raises(Invalid):
        check_next(page)


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ("/", "/?code=a%2Bb"),
        ("/#/runs/1?x=2", "/?code=a%2Bb#/runs/1?x=2"),
        ("/documents?q=1", "/documents?q=1&code=a%2Bb"),
        ("/智", "/%E6%99%BA?code=a%2Bb"),
        ("/?q=a%26b", "/?q=a%26b&code=a%2Bb"),
        ("/a:b", "/a:b?code=a%2Bb"),
    ],
)
def test_the_code_stands_in_the_query_before_the_fragment(page: str, address: str) -> None:
    assert ui_address(page, code="a+b") == address
