"""What a CAS server says is read to the letter of the protocol, and anything else is refused."""

from __future__ import annotations

import pytest

from server.people.cas_answers import MOST_ATTRIBUTES, AnswerGarbled, TicketRefused, read_logout, read_validation

SUCCESS = """<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas"><cas:authenticationSuccess>{}</cas:authenticationSuccess>
</cas:serviceResponse>"""
USER = "<cas:user>2021001</cas:user>"
LOGOUT = """<samlp:LogoutRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="x" Version="2.0">
<saml:NameID xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">{name}</saml:NameID>{tickets}</samlp:LogoutRequest>"""


def success(inside: str) -> bytes:
    return SUCCESS.format(inside).encode()


def test_who_it_is() -> None:
    person = read_validation(success("<cas:user> 2021001 </cas:user><cas:proxyGrantingTicket>PGTIOU-1</cas:proxyGrantingTicket>"))
    assert (person.cas_id, person.attributes) == ("2021001", {})
    assert (person.name, person.email, person.employee_number) == (None, None, None)


@pytest.mark.parametrize(
    "inside",
    [
        "<cas:attributes><cas:cn>张三</cas:cn><cas:mail>z@bupt.edu.cn</cas:mail><cas:employeeNumber>7</cas:employeeNumber></cas:attributes>",
        "<cas:cn>张三</cas:cn><cas:mail>z@bupt.edu.cn</cas:mail><cas:employeeNumber>7</cas:employeeNumber>",
        '<cas:attribute name="cn" value="张三"/><cas:attribute name="mail" value="z@bupt.edu.cn"/>'
        '<cas:attribute name="employeeNumber" value="7"/>',
    ],
    ids=["below", "beside", "as pairs"],
)
def test_attributes_in_each_spelling(inside: str) -> None:
    person = read_validation(success(USER + inside))
    assert person.attributes == {"cn": ["张三"], "mail": ["z@bupt.edu.cn"], "employeeNumber": ["7"]}
    assert (person.name, person.email, person.employee_number) == ("张三", "z@bupt.edu.cn", "7")


def test_what_is_said_twice_counts_once_and_several_values_stay() -> None:
    twice = "<cas:attributes><cas:alias>a</cas:alias><cas:alias>b</cas:alias></cas:attributes>"
    person = read_validation(success(USER + twice + '<cas:attribute name="alias" value="a"/>'))
    assert person.attributes == {"alias": ["a", "b"]}


def test_a_name_is_found_whatever_its_case_and_the_better_one_first() -> None:
    person = read_validation(success(USER + "<cas:attributes><cas:CN>cn</cas:CN><cas:DISPLAYNAME>shown</cas:DISPLAYNAME></cas:attributes>"))
    assert person.name == "shown"


@pytest.mark.parametrize("address", ["none", "a@b@c", "a b@c", "a@b\u202e", "a" * 250 + "@bc.de"])
def test_what_is_no_mail_address_is_none(address: str) -> None:
    assert read_validation(success(f"{USER}<cas:attributes><cas:mail>{address}</cas:mail></cas:attributes>")).email is None


def test_many_attributes_are_bounded() -> None:
    many = "".join(f"<cas:a{number}>{'x' * 2000}</cas:a{number}>" for number in range(500))
    person = read_validation(success(f"{USER}<cas:attributes>{many}</cas:attributes>"))
    assert len(person.attributes) == MOST_ATTRIBUTES
    assert max(len(value) for values in person.attributes.values() for value in values) == 1000


def test_text_that_looks_like_markup_stays_text() -> None:
    escaped = "&lt;/cas:user&gt;&lt;cas:user&gt;admin"
    person = read_validation(success(f"<cas:user>bob{escaped}</cas:user>"))
    assert person.cas_id == "bob</cas:user><cas:user>admin"


def test_a_refusal() -> None:
    body = b"""<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas">
    <cas:authenticationFailure code="INVALID_TICKET">no</cas:authenticationFailure></cas:serviceResponse>"""
    with pytest.raises(TicketRefused, match="INVALID_TICKET"):
        read_validation(body)


BOMB = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>"""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"yes\n2021001\n",
        b"<html><body>sign in</body></html>",
        b"\xff\xfe\x00",
        b'<?xml version="1.0" encoding="rot13"?><x/>',
        success(USER)[:-5],
        success(USER) + success(USER),
        success(""),
        success("<cas:user></cas:user>"),
        success(f"<cas:user>{'x' * 191}</cas:user>"),
        success("<cas:user>a\nb</cas:user>"),
        success(USER + "<cas:user>admin</cas:user>"),
        success("<cas:user>a<cas:b>c</cas:b></cas:user>"),
        success(USER + "<cas:proxies><cas:proxy>https://p</cas:proxy></cas:proxies>"),
        success("<user xmlns='urn:other'>admin</user>"),
        success(USER).replace(b"www.yale.edu", b"evil.example"),
        success(USER).replace(b"</cas:serviceResponse>", b"<cas:authenticationSuccess/></cas:serviceResponse>"),
        success(USER).replace(b"authenticationSuccess", b"proxySuccess"),
        (BOMB + SUCCESS.format("<cas:user>&b;</cas:user>")).encode(),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd">' + SUCCESS.format(USER)).encode(),
        success("<cas:user>&undefined;</cas:user>"),
        b"<a>" * 5000,
        success(USER + "<cas:attributes>" + "<cas:a/>" * 6000 + "</cas:attributes>"),
        success(USER + "<a>" * 40 + "</a>" * 40),
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(AnswerGarbled):
        read_validation(body)


def test_a_logout_names_its_tickets_once_each() -> None:
    tickets = "".join(f"<samlp:SessionIndex> {ticket} </samlp:SessionIndex>" for ticket in ("ST-1", "ST-2", "ST-1", ""))
    assert read_logout(LOGOUT.format(name="admin", tickets=tickets).encode()) == ["ST-1", "ST-2"]
    assert read_logout(LOGOUT.format(name="admin", tickets="").encode()) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        LOGOUT.format(name="", tickets="").replace("LogoutRequest", "LogoutResponse").encode(),
        LOGOUT.format(name="", tickets="").replace("SAML:2.0:protocol", "SAML:1.0").encode(),
        (BOMB + LOGOUT.format(name="&b;", tickets="")).encode(),
        LOGOUT.format(name=" " * 70_000, tickets="").encode(),
    ],
)
def test_what_is_no_logout(body: bytes) -> None:
    with pytest.raises(AnswerGarbled):
        read_logout(body)
