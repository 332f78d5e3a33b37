"""The domain errors: what can go wrong, in words that carry no HTTP."""

from __future__ import annotations

from typing import Any, ClassVar

from server.messages import Text, text

Fields = dict[str, list[Text]]


class DomainError(Exception):
    """Something the caller should be told, with a stable `type` and a sentence from the catalogue.

    `type` names the error for programs; its catalogue key is `error.<type>` and `params` fill the sentence. `fields` says, for each
    field that is wrong, why. Subclasses only set `type`.
    """

    type: ClassVar[str] = "internal"

    def __init__(self, *, fields: Fields | None = None, **params: Any) -> None:
        self.fields = fields or {}
        self.params = params
        super().__init__(self.text.english())

    @property
    def text(self) -> Text:
        return text(f"error.{self.type}", **self.params)


class Malformed(DomainError):
    """The request cannot be read at all."""

    type = "malformed"


class NotSignedIn(DomainError):
    type = "not_signed_in"


class Forbidden(DomainError):
    """The caller is known but may not do this; `scope` says what is missing."""

    type = "forbidden"


class NotFound(DomainError):
    """It does not exist, or the caller may not know that it does."""

    type = "not_found"


class Conflict(DomainError):
    type = "conflict"


class TooLarge(DomainError):
    type = "too_large"


class Invalid(DomainError):
    """One or more fields are wrong; `fields` names them."""

    type = "invalid"

    @classmethod
    def field(cls, name: str, key: str, /, **params: Any) -> Invalid:
        """The error for one wrong field, `key` being its catalogue key."""
        return cls(fields={name: [text(key, **params)]})


class TooMany(DomainError):
    """Too many requests; `retry_after` in seconds."""

    type = "too_many"

    def __init__(self, *, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(retry_after=retry_after)


class EngineAway(DomainError):
    """An outside engine does not answer; what was asked can be asked again."""

    type = "engine_away"

    def __init__(self, engine: str, cause: str = "") -> None:
        self.engine = engine
        self.cause = cause
        super().__init__(engine=engine)
