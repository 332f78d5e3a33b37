"""django-cas-server as one process: one person, one service, single logout. Run by the Python of .venv-cas, beside its database."""

from __future__ import annotations

import json
import re
import sys
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


def configure(person: dict[str, Any]) -> None:
    from django.conf import settings

    settings.configure(
        SECRET_KEY="of a server that lives for one test",
        ALLOWED_HOSTS=["127.0.0.1"],
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            "cas_server",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "cas.db", "OPTIONS": {"timeout": 20}}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        LANGUAGE_CODE="en",
        USE_TZ=True,
        STATIC_URL="/static/",
        ROOT_URLCONF=__name__,
        CAS_AUTH_CLASS="cas_server.auth.TestAuthUser",
        CAS_TEST_USER=person["username"],
        CAS_TEST_PASSWORD=person["password"],
        CAS_TEST_ATTRIBUTES=person["attributes"],
        CAS_NEW_VERSION_HTML_WARNING=False,
        CAS_NEW_VERSION_EMAIL_WARNING=False,
    )


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def address_string(self) -> str:
        return str(self.client_address[0])


def main(port: int, service: str, person: dict[str, Any]) -> None:
    """Serve on the loopback until it is killed; `service` is the one address that may get tickets."""
    global urlpatterns
    configure(person)
    import django
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application

    django.setup()
    from cas_server.models import ReplaceAttributName, ServicePattern
    from django.urls import include, path

    urlpatterns = [path("cas/", include("cas_server.urls", namespace="cas_server"))]
    call_command("migrate", verbosity=0)
    pattern = ServicePattern.objects.create(name="zhihui", pattern=f"^{re.escape(service)}$", single_log_out=True)
    ReplaceAttributName.objects.create(name="*", service_pattern=pattern)
    with make_server("127.0.0.1", port, get_wsgi_application(), Server, Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
