"""Settings: types, names of the older systems, what production needs, and errors that name the variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.config import Settings, SettingsError, listed, read_settings

PRODUCTION = {
    "DEBUG": "False",
    "SECRET_KEY": 40 * "k",
    "ALLOWED_HOSTS": "example.org",
    "EMAIL_HOST": "mail.example.org",
    "NOTIFICATION_EMAIL": "ops@example.org",
}


def read(**environ: str) -> Settings:
    return read_settings(environ, dotenv=None)


def test_nothing_has_to_be_set() -> None:
    assert read() == Settings()
    assert read().debug
    assert read().host == "127.0.0.1"


@pytest.mark.parametrize(
    ("given", "expected"), [("True", True), ("true", True), ("1", True), ("False", False), ("FALSE", False), ("0", False)]
)
def test_booleans_are_read_as_operators_write_them(given: str, expected: bool) -> None:
    assert read(**{**PRODUCTION, "DEBUG": given}).debug is expected


def test_numbers_and_blanks() -> None:
    settings = read(SERVER_PORT=" 8080 ", WS="4", MYSQL_HOST="")
    assert (settings.server_port, settings.ws, settings.mysql_host) == (8080, 4, "")


def test_older_names_are_read_and_the_new_one_wins() -> None:
    old = {"DB_HOST": "old", "DB_PORT": "3307", "DB_USER": "u", "DB_PASSWORD": "p", "DB_NAME": "n"}
    settings = read(**old)
    assert (settings.mysql_host, settings.mysql_port, settings.mysql_user, settings.mysql_password, settings.mysql_db) == (
        "old",
        3307,
        "u",
        "p",
        "n",
    )
    assert read(**old, MYSQL_HOST="new").mysql_host == "new"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVER_PORT", "many"),
        ("SERVER_PORT", "70000"),
        ("MYSQL_PORT", "0"),
        ("DEBUG", "perhaps"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
        ("WS", "0"),
        ("WS", "1.5"),
        ("RATE_LIMIT", "yes"),
        ("ACCESS_TOKEN_MINUTES", "0"),
        ("REFRESH_TOKEN_DAYS", "-1"),
        ("MAX_BODY_MB", "0"),
        ("RETENTION_DAYS", "0"),
        ("ENVIRONMENT", "staging"),
        ("TIMEZONE", "Mars/Olympus"),
        ("TIMEZONE", "../../etc/passwd"),
    ],
)
def test_a_bad_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as refused:
        read(**{name: value})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("missing", ["SECRET_KEY", "ALLOWED_HOSTS", "EMAIL_HOST", "NOTIFICATION_EMAIL"])
def test_production_needs(missing: str) -> None:
    with pytest.raises(SettingsError, match=missing):
        read(**{name: value for name, value in PRODUCTION.items() if name != missing})


def test_production_starts_with_what_it_needs() -> None:
    settings = read(**PRODUCTION)
    assert not settings.debug
    assert settings.host == "0.0.0.0"
    assert read(**{**PRODUCTION, "EMAIL_HOST": "", "EMAIL_API_URL": "http://mail"}).email_api_url


def test_production_refuses_a_short_secret() -> None:
    with pytest.raises(SettingsError, match="SECRET_KEY"):
        read(**{**PRODUCTION, "SECRET_KEY": "short"})


def test_a_fixed_code_is_for_tests_alone() -> None:
    with pytest.raises(SettingsError, match="FIXED_VERIFICATION_CODE"):
        read(FIXED_VERIFICATION_CODE="123456")
    assert read(FIXED_VERIFICATION_CODE="123456", ENVIRONMENT="test").fixed_verification_code == "123456"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("SERVER_PORT=1\nWS=7\nDEBUG=\n")
    settings = read_settings({"SERVER_PORT": "2"}, dotenv=file)
    assert (settings.server_port, settings.ws, settings.debug) == (2, 7, True)


def test_derived_values(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path), allowed_hosts="A.example, b.example,,", public_url="http://x/")
    assert settings.hosts == {"a.example", "b.example"}
    assert settings.files == tmp_path / "files"
    assert settings.url == "http://x"
    assert Settings(allowed_hosts="*, a").hosts == frozenset()
    assert Settings(server_port=81).url == "http://127.0.0.1:81"
    assert listed(" a, ,b ") == ["a", "b"]
