"""Connections to a directory: bound once, used by one thread at a time, dropped when anything goes wrong."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from server.people.hr.targets.errors import ErrorClass, TargetError
from server.people.hr.targets.settings import LdapSettings

T = TypeVar("T")


class LdapConnections:
    """All of it blocks: for threads. ldap3 is imported at first use."""

    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings
        self._idle: list[Any] = []
        self._lock = threading.Lock()

    def run(self, work: Callable[[Any], T]) -> T:
        """Run it on a bound connection. Raises TargetError for whatever the directory says."""
        from ldap3.core.exceptions import LDAPException

        with self._lock:
            connection = self._idle.pop() if self._idle else None
        try:
            connection = connection or self._opened()
            done = work(connection)
        except (LDAPException, OSError, ValueError) as error:
            _drop(connection)
            raise _told(error) from error
        except BaseException:
            _drop(connection)
            raise
        with self._lock:
            self._idle.append(connection)
        return done

    def binds(self, dn: str, password: str) -> bool | None:
        """Whether one can sign in as `dn`; None when the directory does not say."""
        from ldap3 import ANONYMOUS, Connection
        from ldap3.core.exceptions import LDAPException

        connection = Connection(self._server(), authentication=ANONYMOUS, receive_timeout=math.ceil(self._settings.timeout_s))
        try:
            self._prepare(connection)
            connection.rebind(dn, password)
            code = connection.result["result"]
        except LDAPException as error:
            told = _told(error)
            if told.error_class is ErrorClass.REFUSED:
                return False
            raise told from error
        finally:
            _drop(connection)
        if code == 0:
            return True
        return False if code in (19, 49, 50, 53) else None  # constraint, credentials, rights, unwilling

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            _drop(connection)

    def _server(self) -> Any:
        import ssl

        from ldap3 import NONE, Server, Tls

        settings, parts = self._settings, urlsplit(self._settings.url)
        secure = parts.scheme == "ldaps"
        required = ssl.CERT_REQUIRED if settings.verify else ssl.CERT_NONE
        tls = Tls(validate=required, ca_certs_file=settings.ca_file) if secure or settings.start_tls else None
        port = parts.port or (636 if secure else 389)
        return Server(parts.hostname or "", port=port, use_ssl=secure, tls=tls, get_info=NONE, connect_timeout=settings.timeout_s)

    def _opened(self) -> Any:
        from ldap3 import Connection

        settings = self._settings
        connection = Connection(
            self._server(),
            user=settings.bind_dn,
            password=settings.password,
            receive_timeout=math.ceil(settings.timeout_s),  # it takes no parts of a second
            raise_exceptions=True,
            auto_referrals=False,
        )
        try:
            self._prepare(connection)
            connection.bind()
        except BaseException:
            _drop(connection)
            raise
        return connection

    def _prepare(self, connection: Any) -> None:
        connection.open()
        if self._settings.start_tls:
            connection.start_tls()


def _drop(connection: Any) -> None:
    with contextlib.suppress(Exception):  # it may be gone, or never have been
        connection.unbind()
    with contextlib.suppress(Exception):  # which leaves open what it could not say goodbye to
        connection.socket.close()


def _told(error: Exception) -> TargetError:
    """A directory's error as a class. Its words name attributes and entries, no secrets."""
    from ldap3.core import exceptions as known

    detail = f"{type(error).__name__}: {error}"[:1000]
    classes = {
        ErrorClass.REFUSED: (
            known.LDAPInvalidCredentialsResult,
            known.LDAPInsufficientAccessRightsResult,
            known.LDAPStrongerAuthRequiredResult,
            known.LDAPInappropriateAuthenticationResult,
            known.LDAPConfidentialityRequiredResult,
            known.LDAPCertificateError,
            known.LDAPBindError,
        ),
        ErrorClass.BUSY: (known.LDAPBusyResult, known.LDAPNoSuchObjectResult, known.LDAPAdminLimitExceededResult),
        ErrorClass.CONFLICT: (known.LDAPEntryAlreadyExistsResult,),
        ErrorClass.AWAY: (known.LDAPUnavailableResult, known.LDAPTimeLimitExceededResult),
    }
    for error_class, types in classes.items():
        if isinstance(error, types):
            return TargetError(error_class, detail)
    answered = isinstance(error, known.LDAPOperationResult | known.LDAPObjectError | known.LDAPAttributeError)
    return TargetError(ErrorClass.INVALID if answered else ErrorClass.AWAY, detail)
