"""The tables of people as Django models; they are not Django's to change."""

from django.db import models


class Role(models.Model):
    name = models.CharField(max_length=64)

    class Meta:
        app_label = "django_people"
        managed = False
        db_table = "roles"


class User(models.Model):
    username = models.CharField(max_length=150, unique=True)
    name = models.CharField(max_length=190)
    email = models.CharField(max_length=254, null=True)
    kind = models.CharField(max_length=16)
    state = models.CharField(max_length=16)
    organization_id = models.BigIntegerField()
    created_at = models.DateTimeField()
    last_login_at = models.DateTimeField(null=True)
    roles = models.ManyToManyField(Role, through="Grant")

    USERNAME_FIELD = "username"
    REQUIRED_FIELDS = ()
    is_anonymous = False
    is_authenticated = True

    class Meta:
        app_label = "django_people"
        managed = False
        db_table = "users"

    @property
    def is_active(self):
        return self.state == "active"


class Grant(models.Model):
    user = models.OneToOneField(User, models.DO_NOTHING, primary_key=True)
    role = models.ForeignKey(Role, models.DO_NOTHING)

    class Meta:
        app_label = "django_people"
        managed = False
        db_table = "role_grants"
