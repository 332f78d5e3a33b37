"""What a CAS server says, in XML: who a ticket stands for, and which tickets a logout ends."""

from __future__ import annotations

from collections.abc import Iterator
from xml.parsers import expat

import msgspec

CAS = "http://www.yale.edu/tp/cas"
SAML = "urn:oasis:names:tc:SAML:2.0:protocol"
LARGEST_ANSWER = 256 << 10
LARGEST_LOGOUT = 64 << 10
DEEPEST = 32
MOST_ELEMENTS = 5000
# What is kept of a person's attributes.
MOST_ATTRIBUTES = 100
LONGEST_VALUE = 1000
LONGEST_ID = 190

# How servers name what we know; the first that has a value counts.
NAMES = ("displayName", "name", "cn", "xm", "userName", "user_name")
MAILS = ("mail", "email", "emailAddress")
NUMBERS = ("employeeNumber", "employee_number", "employeeId", "xgh", "gh", "xh", "studentNumber", "student_number")


class AnswerGarbled(Exception):
    """What came is not what the protocol says; the message says where."""


class TicketRefused(Exception):
    """The CAS server does not take the ticket; the message is its code, such as INVALID_TICKET."""


class CasPerson(msgspec.Struct, frozen=True):
    """Whom a ticket stands for. `attributes` are all that the server tells, each with its values in their order."""

    cas_id: str
    attributes: dict[str, list[str]]

    def find(self, names: tuple[str, ...]) -> str | None:
        """The first value of the first attribute of these names, whatever their case."""
        by_name = {name.lower(): values for name, values in self.attributes.items()}
        for name in names:
            for value in by_name.get(name.lower(), ()):
                if value:
                    return value
        return None

    @property
    def name(self) -> str | None:
        return self.find(NAMES)

    @property
    def email(self) -> str | None:
        found = self.find(MAILS)
        return found if found and found.count("@") == 1 and len(found) <= 254 and found.isprintable() and " " not in found else None

    @property
    def employee_number(self) -> str | None:
        return self.find(NUMBERS)


class _Element:
    """`name` is the namespace, a space and the local name; without a namespace the local name alone."""

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.parts: list[str] = []
        self.children: list[_Element] = []

    @property
    def text(self) -> str:
        return "".join(self.parts).strip()

    @property
    def local_name(self) -> str:
        return self.name.rpartition(" ")[2]

    def named(self, name: str) -> list[_Element]:
        return [child for child in self.children if child.name == name]

    def walk(self) -> Iterator[_Element]:
        """The element and all below it; the depth is bounded when it is parsed."""
        yield self
        for child in self.children:
            yield from child.walk()


def _parse(document: bytes) -> _Element:
    """The root element. Without a DTD there are no entities to expand and nothing outside to be read, so a DTD is refused."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    root = _Element("", {})
    path, count = [root], 0

    def refuse_dtd(*_: object) -> None:
        raise AnswerGarbled("it has a DTD")

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(path) > DEEPEST or count > MOST_ELEMENTS:
            raise AnswerGarbled("it has too many elements")
        element = _Element(name, attributes)
        path[-1].children.append(element)
        path.append(element)

    parser.StartDoctypeDeclHandler = refuse_dtd
    parser.EntityDeclHandler = refuse_dtd
    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda _name: path.pop() and None
    parser.CharacterDataHandler = lambda data: path[-1].parts.append(data)
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # the last two: an encoding that Python does not know
        raise AnswerGarbled(f"it is no XML: {error}") from None
    return root.children[0]


def read_validation(document: bytes) -> CasPerson:
    """Whom a ticket stands for, from the answer of /serviceValidate or /p3/serviceValidate (CAS protocol 3.0.3, appendix A).

    Raises TicketRefused, and AnswerGarbled for anything that is not plainly one or the other.
    """
    root = _parse(document)
    if root.name != f"{CAS} serviceResponse" or len(root.children) != 1:
        raise AnswerGarbled("it is no serviceResponse with one outcome")
    outcome = root.children[0]
    if outcome.name == f"{CAS} authenticationFailure":
        raise TicketRefused(outcome.attributes.get("code", "")[:64] or "no code")
    if outcome.name != f"{CAS} authenticationSuccess":
        raise AnswerGarbled("its outcome is neither success nor failure")
    users = outcome.named(f"{CAS} user")
    if len(users) != 1 or users[0].children:
        raise AnswerGarbled("it names no user, or several")
    cas_id = users[0].text
    if not cas_id or len(cas_id) > LONGEST_ID or not cas_id.isprintable():
        raise AnswerGarbled("the user's name cannot be one")
    if outcome.named(f"{CAS} proxies"):
        raise AnswerGarbled("it comes through a proxy")
    return CasPerson(cas_id, _attributes(outcome))


def _attributes(outcome: _Element) -> dict[str, list[str]]:
    """The attributes in each of the three spellings that servers have; what is said in two of them counts once."""
    elements = [child for part in outcome.named(f"{CAS} attributes") for child in part.children]
    own = {"user", "attributes", "attribute", "proxyGrantingTicket", "proxies"}
    elements += [child for child in outcome.children if child.local_name not in own]
    pairs = [(element.local_name, element.text) for element in elements if not element.children]
    pairs += [(child.attributes.get("name", ""), child.attributes.get("value", "")) for child in outcome.named(f"{CAS} attribute")]
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        if not name or len(name) > LONGEST_VALUE or (name not in found and len(found) >= MOST_ATTRIBUTES):
            continue
        values = found.setdefault(name, [])
        if value[:LONGEST_VALUE] not in values and len(values) < MOST_ATTRIBUTES:
            values.append(value[:LONGEST_VALUE])
    return found


def read_logout(document: bytes) -> list[str]:
    """The tickets whose sessions a single logout ends: its SessionIndexes. The NameID says nothing, some servers leave it empty.

    Raises AnswerGarbled.
    """
    if len(document) > LARGEST_LOGOUT:
        raise AnswerGarbled("it is too large")
    root = _parse(document)
    if root.name != f"{SAML} LogoutRequest":
        raise AnswerGarbled("it is no LogoutRequest")
    return list(dict.fromkeys(element.text for element in root.walk() if element.name == f"{SAML} SessionIndex" and element.text))
