"""Reads SCIM filters and the paths of PATCH (RFC 7644, 3.4.2.2 and 3.5.2) into trees."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from server.messages import text
from server.people.scim.errors import InvalidFilter, InvalidPath

LONGEST = 4000
DEEPEST = 20
OPERATORS = frozenset({"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"})
_TOKEN = re.compile(r'\s*(?:(?P<mark>[()\[\]])|(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[^\s()\[\]"]+))')
_NAME = r"[A-Za-z$][A-Za-z0-9_$-]*"
_PATH = re.compile(rf"(?:urn:[A-Za-z0-9_:.-]+:)?{_NAME}(?:\.{_NAME})?", re.IGNORECASE)
_BELOW = re.compile(rf"\.({_NAME})")


class Compare(msgspec.Struct, frozen=True):
    path: str
    operator: str
    value: Any


class Present(msgspec.Struct, frozen=True):
    path: str


class Within(msgspec.Struct, frozen=True):
    """One value of a multi-valued attribute meets the whole condition, whose paths are those of its sub-attributes."""

    path: str
    condition: Node


class Not(msgspec.Struct, frozen=True):
    condition: Node


class Every(msgspec.Struct, frozen=True):
    conditions: tuple[Node, ...]


class Some(msgspec.Struct, frozen=True):
    conditions: tuple[Node, ...]


Node = Compare | Present | Within | Not | Every | Some


class Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


class PatchPath(msgspec.Struct, frozen=True):
    """The path of a PATCH: an attribute, perhaps a filter of its values, perhaps a sub-attribute of those."""

    path: str
    condition: Node | None = None
    sub: str = ""


def parse_filter(source: str) -> Node:
    """The tree of a filter. Raises InvalidFilter, saying where it cannot be read."""
    return _Reader(source).whole()


def parse_path(source: str) -> PatchPath:
    """The parts of a PATCH path. Raises InvalidPath."""
    before, bracket, rest = source.strip().partition("[")
    if not bracket:
        if not _PATH.fullmatch(before) and not before.casefold().startswith("urn:"):
            raise InvalidPath(detail=text("scim.path_unreadable", path=source[:200]))
        return PatchPath(before)
    reader = _Reader("[" + rest)
    try:
        condition = reader.brackets()
    except InvalidFilter as wrong:
        raise InvalidPath(detail=wrong.params["detail"]) from None
    after = reader.source[reader.previous_end :]
    below = _BELOW.fullmatch(after.strip())
    if not _PATH.fullmatch(before) or (after.strip() and below is None):
        raise InvalidPath(detail=text("scim.path_unreadable", path=source[:200]))
    return PatchPath(before, condition, below[1] if below else "")


class _Reader:
    """Reads by recursive descent: `or` binds least, then `and`, then `not`."""

    def __init__(self, source: str) -> None:
        if len(source) > LONGEST:
            raise InvalidFilter(detail=text("scim.filter_long", limit=LONGEST))
        self.source = source
        self._tokens = self._split(source)
        self._at = 0
        self._depth = 0

    def _split(self, source: str) -> list[Token]:
        tokens, at = [], 0
        while at < len(source) and source[at:].strip():
            found = _TOKEN.match(source, at)
            if found is None:
                raise self._wrong(at)
            kind = str(found.lastgroup)
            tokens.append(Token(kind, found[kind], found.start(kind), found.end()))
            at = found.end()
        return tokens

    def whole(self) -> Node:
        node = self._some()
        if self._at < len(self._tokens):
            raise self._wrong(self._tokens[self._at].start)
        return node

    def brackets(self) -> Node:
        """A condition between [ and ]."""
        self._take("[")
        node = self._some()
        self._take("]")
        return node

    @property
    def previous_end(self) -> int:
        return self._tokens[self._at - 1].end

    def _some(self) -> Node:
        nodes = [self._every()]
        while self._word("or"):
            nodes.append(self._every())
        return nodes[0] if len(nodes) == 1 else Some(tuple(nodes))

    def _every(self) -> Node:
        nodes = [self._one()]
        while self._word("and"):
            nodes.append(self._one())
        return nodes[0] if len(nodes) == 1 else Every(tuple(nodes))

    def _one(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise InvalidFilter(detail=text("scim.filter_deep", limit=DEEPEST))
        negated = self._peek(1) == "(" and self._word("not")
        if negated or self._peek() == "(":
            self._take("(")
            node = self._some()
            self._take(")")
            node = Not(node) if negated else node
        else:
            node = self._attribute()
        self._depth -= 1
        return node

    def _attribute(self) -> Node:
        token = self._next("word")
        if not _PATH.fullmatch(token.text):
            raise self._wrong(token.start)
        if self._peek() != "[":
            return self._comparison(token.text)
        condition = self.brackets()
        # Not in the RFC's grammar, but what Entra sends: emails[type eq "work"].value eq "x"
        if self._at < len(self._tokens) and self._tokens[self._at].start == self.previous_end:
            below = _BELOW.fullmatch(self._peek())
            if below is not None:
                self._at += 1
                condition = Every((condition, self._comparison(below[1])))
        return Within(token.text, condition)

    def _comparison(self, path: str) -> Node:
        token = self._next("word")
        operator = token.text.casefold()
        if operator == "pr":
            return Present(path)
        if operator not in OPERATORS:
            raise self._wrong(token.start)
        value = self._tokens[self._at] if self._at < len(self._tokens) else None
        if value is None or value.kind == "mark":
            raise self._wrong(value.start if value else len(self.source))
        self._at += 1
        try:
            literal = msgspec.json.decode(value.text if value.kind == "string" else value.text.casefold())
        except (msgspec.DecodeError, msgspec.ValidationError):
            raise self._wrong(value.start) from None
        return Compare(path, operator, literal)

    def _peek(self, ahead: int = 0) -> str:
        return self._tokens[self._at + ahead].text if self._at + ahead < len(self._tokens) else ""

    def _word(self, wanted: str) -> bool:
        """Step over a word, if it is the next one."""
        if self._at < len(self._tokens) and self._tokens[self._at].kind == "word" and self._peek().casefold() == wanted:
            self._at += 1
            return True
        return False

    def _take(self, mark: str) -> None:
        if self._at >= len(self._tokens) or self._tokens[self._at].kind != "mark" or self._peek() != mark:
            raise self._wrong(self._tokens[self._at].start if self._at < len(self._tokens) else len(self.source))
        self._at += 1

    def _next(self, kind: str) -> Token:
        if self._at >= len(self._tokens) or self._tokens[self._at].kind != kind:
            raise self._wrong(self._tokens[self._at].start if self._at < len(self._tokens) else len(self.source))
        self._at += 1
        return self._tokens[self._at - 1]

    def _wrong(self, at: int) -> InvalidFilter:
        return InvalidFilter(detail=text("scim.filter_unreadable", at=at + 1))
