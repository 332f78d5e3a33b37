"""Django REST framework on the same table: token checked by simplejwt, a page of 20 users with their roles. Read only, managed=False."""

import os

import django
from django.conf import settings

settings.configure(
    DEBUG=False,
    SECRET_KEY=os.environ["BENCH_SECRET"],
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework", "django_people"],
    MIDDLEWARE=[],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["BENCH_DATABASE"],
            "CONN_MAX_AGE": None,  # the one thread of sync views keeps its connection
        }
    },
    AUTH_USER_MODEL="django_people.User",
    USE_TZ=True,
    LOGGING_CONFIG=None,
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
        "PAGE_SIZE": 20,
    },
    SIMPLE_JWT={"ALGORITHM": "HS256", "SIGNING_KEY": os.environ["BENCH_SECRET"], "AUDIENCE": "zhihui", "ISSUER": "zhihui"},
)
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402
from django_people.models import User  # noqa: E402
from rest_framework import generics, serializers  # noqa: E402


class UserSerializer(serializers.ModelSerializer):
    roles = serializers.SlugRelatedField(many=True, read_only=True, slug_field="name")

    class Meta:
        model = User
        fields = ("id", "username", "name", "email", "kind", "state", "organization_id", "roles", "created_at", "last_login_at")


class UserList(generics.ListAPIView):
    queryset = User.objects.order_by("id").prefetch_related("roles")
    serializer_class = UserSerializer


urlpatterns = [path("api/users", UserList.as_view())]
application = get_asgi_application()
