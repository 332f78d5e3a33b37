"""/cas: signing in at a CAS server, and its single logout; /api/auth/cas: the code that it ends with."""

from __future__ import annotations

import logging
from typing import Annotated

import msgspec

from handlers.base import ApiHandler
from handlers.operation import operation
from server.errors import DomainError, EngineAway, Forbidden
from server.people import cas, cas_logout
from server.people.cas import CasLink, CasLinkQuery
from server.people.cas_client import service_url
from server.people.schemas import Done, TokenPair
from server.scopes import ANYONE, SIGNED_IN

log = logging.getLogger(__name__)


class LoginQuery(msgspec.Struct, forbid_unknown_fields=True):
    """`next` is a path of this site; `renew` asks for the password again, `gateway` only takes who is signed in already."""

    next: str = "/"
    renew: bool = False
    gateway: bool = False


class LinkQuery(msgspec.Struct, forbid_unknown_fields=True):
    """`ticket` is one of POST /api/auth/ticket; `next` is a path of this site."""

    ticket: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    next: str = "/"


class CallbackQuery(msgspec.Struct):
    """Without a ticket nobody signed in. What else a server adds is left aside."""

    ticket: str = ""


class LogoutRequest(msgspec.Struct):
    """A SAML LogoutRequest as a form field."""

    logoutRequest: Annotated[str, msgspec.Meta(min_length=1)]  # noqa: N815 - the protocol's name


class CasLinkElsewhere(Forbidden):
    """A page of another site asked for the link."""

    type = "cas_link_elsewhere"


class CasHandler(ApiHandler):
    """The cookie that binds a sign-in to the browser which began it."""

    @property
    def _secure(self) -> bool:
        return self.request.protocol == "https" or service_url(self.ctx.settings).startswith("https://")

    @property
    def _cookie_name(self) -> str:
        # The prefix makes browsers refuse such a cookie from another host of the domain.
        return "__Host-zhihui-cas" if self._secure else "zhihui-cas"

    @property
    def state_cookie(self) -> str:
        return self.get_cookie(self._cookie_name) or ""

    def keep_state(self, cookie: str) -> None:
        # Lax: the way back from the CAS server is a navigation from another site, which must bring it along.
        self.set_cookie(self._cookie_name, cookie, path="/", httponly=True, secure=self._secure, samesite="Lax", max_age=cas.STATE_LIFE_S)

    def drop_state(self) -> None:
        self.clear_cookie(self._cookie_name, path="/", httponly=True, secure=self._secure, samesite="Lax")

    def go(self, location: str) -> None:
        """302, without a body."""
        self.clear_header("Content-Type")
        self.set_status(302)
        self.set_header("Location", location)
        self.finish()


class CasLoginHandler(CasHandler):
    @operation(ANYONE, "Sign in at the CAS server: leads there, and back to `next`.", raw=True, form=True)
    async def get(self, query: LoginQuery) -> None:
        begun = cas.begin(self.ctx, query.next, renew=query.renew, gateway=query.gateway)
        self.keep_state(begun.cookie)
        self.go(begun.location)


class CasLinkHandler(CasHandler):
    @operation(
        ANYONE, "Link a CAS account to the user of a one-time ticket: leads to the CAS server, and back to `next`.", raw=True, form=True
    )
    async def get(self, query: LinkQuery) -> None:
        # A page of another site could link its visitor's CAS account to an account of its own.
        if self.request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise CasLinkElsewhere()
        begun = await cas.begin_link(self.ctx, query.ticket, query.next)
        self.keep_state(begun.cookie)
        self.go(begun.location)


class CasCallbackHandler(CasHandler):
    @operation(
        ANYONE,
        "The way back from the CAS server: leads to the UI with a `code`, or with `linked`, or with an `error`.",
        raw=True,
        form=True,
    )
    async def get(self, query: CallbackQuery) -> None:
        try:
            cas.check_on(self.ctx)
            state = cas.get_state(self.ctx, self.state_cookie)
            if not query.ticket and state.gateway:  # nobody is signed in there, and nobody was to be asked
                self.drop_state()
                self.go(cas.ui_address(state.next))
                return
            if state.user_id is not None:
                self.drop_state()
                await cas.accept_link(self.ctx, self.actor, state, query.ticket)
                self.go(cas.ui_address(state.next, linked="1"))
                return
            code = await cas.accept_ticket(self.ctx, self.actor, state, query.ticket)
        except DomainError as error:
            if isinstance(error, EngineAway):
                log.warning("single sign-on: %s", error.cause)
            if "text/html" not in self.request.headers.get("Accept", ""):
                raise
            self.go(cas.ui_address("/", error=error.type))
            return
        self.go(cas.ui_address(state.next, code=code))

    @operation(ANYONE, "Single logout: the CAS server says which tickets have ended.", form=True)
    async def post(self, body: LogoutRequest) -> Done:
        cas.check_on(self.ctx)
        await cas_logout.log_out(self.ctx, self.actor, body.logoutRequest)
        return Done()


class CasCodeHandler(CasHandler):
    @operation(ANYONE, "A pair of tokens for the code of a single sign-on, in the browser that began it.")
    async def post(self, body: cas.CodeRequest) -> TokenPair:
        agent = self.request.headers.get("User-Agent", "")
        pair = await cas.redeem(self.ctx, self.actor, body.code, self.state_cookie, agent=agent)
        self.drop_state()
        return pair


class CasLinksHandler(ApiHandler):
    @operation(SIGNED_IN, "The CAS accounts that are linked to the caller.")
    async def get(self) -> list[CasLink]:
        return await cas.list_links(self.ctx, self.actor)

    @operation(SIGNED_IN, "Remove one of the caller's links, unless it is the last way to sign in.")
    async def delete(self, query: CasLinkQuery) -> Done:
        await cas.remove_link(self.ctx, self.actor, query)
        return Done()


routes = [
    (r"/cas/login", CasLoginHandler),
    (r"/cas/link", CasLinkHandler),
    (r"/api/auth/cas-links", CasLinksHandler),
    (r"/cas/callback", CasCallbackHandler),
    (r"/api/auth/cas", CasCodeHandler),
]
