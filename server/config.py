"""Settings: every variable, its type, default and meaning, read once from the environment and .env."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints
from zoneinfo import ZoneInfo

import msgspec
from dotenv import dotenv_values

# Names that operators of the older systems have in their .env files, and ours.
ALIASES = {
    "DB_HOST": "MYSQL_HOST",
    "DB_PORT": "MYSQL_PORT",
    "DB_USER": "MYSQL_USER",
    "DB_PASSWORD": "MYSQL_PASSWORD",
    "DB_NAME": "MYSQL_DB",
}
NEEDED_IN_PRODUCTION = ("SECRET_KEY", "ALLOWED_HOSTS")
MAIL_SETTINGS = ("EMAIL_API_URL", "EMAIL_HOST")


LARGEST_PORT = 65_535


def about(meaning: str) -> msgspec.Meta:
    return msgspec.Meta(description=meaning)


def at_least(least: int, meaning: str, most: int | None = None) -> msgspec.Meta:
    return msgspec.Meta(ge=least, le=most, description=meaning)


def port(meaning: str) -> msgspec.Meta:
    return at_least(1, meaning, LARGEST_PORT)


class SettingsError(Exception):
    """The settings cannot be used; the message is one clear line."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    """The settings of one process. Each field is the environment variable of the same name in capitals."""

    server_host: Annotated[str, about("Address to listen on; empty: 127.0.0.1 with DEBUG, else 0.0.0.0.")] = ""
    server_port: Annotated[int, at_least(0, "Port of the server.", LARGEST_PORT)] = 10080
    public_url: Annotated[str, about("How people and modules reach the server; used in links. Empty: http://127.0.0.1:SERVER_PORT.")] = ""
    debug: Annotated[bool, about("True: development mode; registration of modules is open to loopback. Set False in production.")] = True
    environment: Annotated[Literal["", "test"], about("`test` alone allows FIXED_VERIFICATION_CODE.")] = ""
    secret_key: Annotated[str, about("Signs tokens and links. Generated in DATA_DIR/secrets.json with DEBUG; required in production.")] = ""
    module_key: Annotated[str, about("What modules register with when not on loopback. Generated in DATA_DIR/secrets.json when empty.")] = (
        ""
    )
    admin_password: Annotated[str, about("The first password of `admin`. Generated in DATA_DIR/secrets.json when empty.")] = ""
    allowed_hosts: Annotated[str, about("Host names that are served, with commas; * serves any. Empty with DEBUG: any.")] = ""
    trusted_origins: Annotated[str, about("Further origins whose pages may open sockets, with commas.")] = ""
    trusted_proxies: Annotated[str, about("Addresses of reverse proxies whose X-Forwarded-For is believed, with commas.")] = "127.0.0.1,::1"
    timezone: Annotated[str, about("Zone of workflows that name none.")] = "Asia/Shanghai"
    data_dir: Annotated[str, about("Where all state lives: databases, files, outbox, logs, run, secrets.")] = "./data"
    files_dir: Annotated[str, about("Content-addressed files; shared between instances. Empty: DATA_DIR/files.")] = ""
    static_root: Annotated[str, about("The built browser UI. Empty: static/dist.")] = ""
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], about("Least level that is logged.")] = "INFO"
    log_format: Annotated[Literal["text", "json"], about("How a log line looks.")] = "text"

    mysql_host: Annotated[str, about("MySQL or MariaDB host; empty: SQLite under DATA_DIR. DB_HOST is read as well.")] = ""
    mysql_port: Annotated[int, port("Its port. DB_PORT is read as well.")] = 3306
    mysql_user: Annotated[str, about("Its user. DB_USER is read as well.")] = "root"
    mysql_password: Annotated[str, about("Its password. DB_PASSWORD is read as well.")] = ""
    mysql_db: Annotated[str, about("Its database. DB_NAME is read as well.")] = "zhihui"
    mysql_pool_size: Annotated[int, at_least(1, "Most connections to MySQL from one process.")] = 10
    mongodb_host: Annotated[str, about("A mongodb:// address; empty: documents live in the SQL database.")] = ""
    mongodb_name: Annotated[str, about("The MongoDB database.")] = "zhihui"
    redis_url: Annotated[str, about("A redis:// address; empty: the bus lives in the process.")] = ""
    milvus_host: Annotated[str, about("Milvus host; empty: Milvus Lite as a child process.")] = ""
    milvus_port: Annotated[int, port("Milvus port.")] = 19530
    compute_url: Annotated[str, about("Address of a Dask scheduler; empty: local worker processes.")] = ""
    ws: Annotated[int, msgspec.Meta(ge=1, le=256, description="Number of local worker processes for CPU work (PDF, embedding).")] = 2
    compute_memory_mb: Annotated[int, at_least(0, "Most address space of one worker process, in MiB; 0: no limit.")] = 4096

    embedding_url: Annotated[str, about("An OpenAI-compatible embeddings endpoint; empty: the bundled model.")] = ""
    embedding_model: Annotated[str, about("Name of the embedding model at EMBEDDING_URL.")] = ""
    embedding_dim: Annotated[int, at_least(0, "Dimension of its vectors; 0: asked from the model.")] = 0
    max_pages: Annotated[int, at_least(1, "Most pages of a PDF; a longer one is refused when it is opened.")] = 5000
    llm_url: Annotated[str, about("An OpenAI-compatible chat endpoint; empty: the assistant quotes passages.")] = ""
    llm_model: Annotated[str, about("Name of the model at LLM_URL.")] = ""
    ark_api_key: Annotated[str, about("API key for LLM_URL and EMBEDDING_URL.")] = ""

    notification_email: Annotated[str, about("Who gets failure mail when a workflow names nobody; with commas.")] = ""
    email_api_url: Annotated[str, about("Mail is POSTed here as JSON.")] = ""
    email_host: Annotated[str, about("SMTP host; used when EMAIL_API_URL is empty. Both empty: an outbox folder.")] = ""
    email_port: Annotated[int, port("SMTP port; 465 speaks TLS from the start, others STARTTLS when offered.")] = 25
    email_host_user: Annotated[str, about("SMTP user, when the server wants one.")] = ""
    email_host_password: Annotated[str, about("SMTP password.")] = ""
    email_from: Annotated[str, about("Sender of mail; empty: EMAIL_HOST_USER or zhihui@localhost.")] = ""

    bupt_cas_server_url: Annotated[str, about("Address of the CAS server; empty: no single sign-on.")] = ""
    bupt_cas_version: Annotated[int, at_least(2, "CAS protocol, 2 or 3.", 3)] = 3
    bupt_cas_service_url: Annotated[str, about("Our own callback address as registered at the CAS server.")] = ""

    registration: Annotated[Literal["on", "off"], about("Whether people may make an account by themselves, with a mail code.")] = "off"
    cas_create_users: Annotated[Literal["on", "off"], about("Whether whoever comes from the CAS server gets an account.")] = "on"
    break_glass_users: Annotated[str, about("User names, with commas, that HR sync never touches: accounts for emergencies.")] = "admin"
    scim_role: Annotated[str, about("The role of users that are made over SCIM, in their organization; empty: none.")] = "student"
    hr_files_dir: Annotated[str, about("Below which files of HR sources are read. Empty: DATA_DIR/hr.")] = ""
    access_token_minutes: Annotated[int, at_least(1, "Life of an access token.", 1440)] = 15
    refresh_token_days: Annotated[int, at_least(1, "Life of a sign-in session.", 3650)] = 14
    rate_limit: Annotated[Literal["on", "off"], about("Growing delay after failed sign-ins.")] = "on"
    captcha_verify_url: Annotated[
        str, about("Where captchas are verified (siteverify of reCAPTCHA, hCaptcha or Turnstile); empty: no captcha.")
    ] = ""
    captcha_secret: Annotated[str, about("The secret that the verifier knows us by.")] = ""
    captcha_site_key: Annotated[str, about("The public key that the UI makes the captcha with.")] = ""
    captcha_after: Annotated[int, at_least(0, "Failed sign-ins, from an address or for an account, after which a captcha is needed.")] = 3
    fixed_verification_code: Annotated[str, about("Every mail code is this one; only with ENVIRONMENT=test.")] = ""

    hot_swap_grace_s: Annotated[int, at_least(0, "How long a replaced module connection may finish its steps, in seconds.")] = 30
    drain_timeout_s: Annotated[int, at_least(0, "How long a stopping server waits for requests in flight, in seconds.")] = 25
    max_body_mb: Annotated[int, at_least(1, "Largest JSON body, in MiB.")] = 8
    max_upload_mb: Annotated[int, at_least(1, "Largest uploaded file, in MiB.")] = 200
    retention_days: Annotated[int, at_least(1, "Days that ended runs, their logs and ledger rows are kept.")] = 90
    task_retention_days: Annotated[int, at_least(1, "Days that ended tasks are kept.")] = 30
    audit_retention_days: Annotated[int, at_least(1, "Days that audit rows are kept.")] = 730
    metrics_token: Annotated[str, about("Bearer token that may read /metrics from other machines; empty: loopback only.")] = ""

    @property
    def host(self) -> str:
        return self.server_host or ("127.0.0.1" if self.debug else "0.0.0.0")

    @property
    def url(self) -> str:
        return (self.public_url or f"http://127.0.0.1:{self.server_port}").rstrip("/")

    @property
    def data(self) -> Path:
        return Path(self.data_dir).expanduser().absolute()

    @property
    def files(self) -> Path:
        return Path(self.files_dir).expanduser().absolute() if self.files_dir else self.data / "files"

    @property
    def hr_files(self) -> Path:
        return Path(self.hr_files_dir).expanduser().absolute() if self.hr_files_dir else self.data / "hr"

    @property
    def hosts(self) -> frozenset[str]:
        """The host names that are served, in small letters; empty means any."""
        names = frozenset(listed(self.allowed_hosts.lower()))
        return frozenset() if "*" in names else names


def listed(value: str) -> list[str]:
    """The parts of a setting that holds a list with commas."""
    return [part.strip() for part in value.split(",") if part.strip()]


def read_settings(environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")) -> Settings:
    """The settings from .env and the environment, the environment winning.

    Raises SettingsError, naming the variable, for a value of the wrong type or a missing one that production needs.
    """
    found: dict[str, str] = {}
    if dotenv is not None and dotenv.is_file():
        found.update({name: value for name, value in dotenv_values(dotenv).items() if value})
    found.update({name: value for name, value in (os.environ if environ is None else environ).items() if value})
    for old, new in ALIASES.items():
        if old in found:
            found.setdefault(new, found[old])
    values: dict[str, Any] = {}
    for name, kind in get_type_hints(Settings, include_extras=True).items():
        variable = name.upper()
        if variable not in found:
            continue
        raw = found[variable].strip()
        try:
            values[name] = msgspec.convert(raw.lower() if kind.__origin__ is bool else raw, kind, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{variable}: {error} (see .env.example)") from None
    settings = Settings(**values)
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    if settings.fixed_verification_code and settings.environment != "test":
        raise SettingsError("FIXED_VERIFICATION_CODE is only allowed with ENVIRONMENT=test.")
    captcha = (settings.captcha_verify_url, settings.captcha_secret, settings.captcha_site_key)
    if any(captcha) and not all(captcha):
        raise SettingsError("CAPTCHA_VERIFY_URL, CAPTCHA_SECRET and CAPTCHA_SITE_KEY are set together or not at all (see .env.example).")
    try:
        ZoneInfo(settings.timezone)
    except (ValueError, OSError, KeyError):  # an unknown name is a KeyError, a folder such as Asia an OSError
        raise SettingsError(f"TIMEZONE: there is no time zone {settings.timezone!r} (see .env.example).") from None
    if settings.debug:
        return
    missing = [name for name in NEEDED_IN_PRODUCTION if not getattr(settings, name.lower())]
    if not any(getattr(settings, name.lower()) for name in MAIL_SETTINGS):
        missing.append("EMAIL_API_URL or EMAIL_HOST")
    if not settings.notification_email:
        missing.append("NOTIFICATION_EMAIL")
    if missing:
        raise SettingsError(f"DEBUG=False needs these settings: {', '.join(missing)} (see .env.example).")
    if len(settings.secret_key) < 32:
        raise SettingsError("SECRET_KEY must have at least 32 characters in production.")
