"""The secrets file: made once, for its owner's eyes, and never in a log."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import msgspec
import pytest

from server.config import Settings, SettingsError
from server.secrets_file import open_secrets, path_of


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_secrets_are_made_once(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "data"))
    first = open_secrets(settings)
    written = path_of(settings).read_bytes()
    assert open_secrets(settings) == first
    assert path_of(settings).read_bytes() == written
    assert mode(path_of(settings)) == 0o600
    assert len(first.secret_key) >= 32
    assert first.module_key.startswith("zm_")
    assert first.admin_password_generated
    assert len({first.secret_key, first.module_key, first.admin_password}) == 3


def test_no_two_installations_share_a_secret(tmp_path: Path) -> None:
    one, other = (open_secrets(Settings(data_dir=str(tmp_path / name))) for name in "ab")
    assert one.secret_key != other.secret_key
    assert one.module_key != other.module_key
    assert one.admin_password != other.admin_password


def test_settings_win_and_are_not_written_down(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path), secret_key="s" * 40, module_key="the-module-key", admin_password="the-password")
    kept = open_secrets(settings)
    assert (kept.secret_key, kept.module_key, kept.admin_password) == ("s" * 40, "the-module-key", "the-password")
    assert not kept.admin_password_generated
    assert "the-password" not in path_of(settings).read_text()


def test_a_file_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    open_secrets(settings)
    path_of(settings).chmod(0o644)
    open_secrets(settings)
    assert mode(path_of(settings)) == 0o600


def test_what_an_earlier_start_left_behind_lends_no_rights(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    beside = path_of(settings).with_suffix(".new")
    beside.write_text("")
    beside.chmod(0o666)
    open_secrets(settings)
    assert mode(path_of(settings)) == 0o600


def test_a_missing_secret_is_added_and_the_others_stay(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    path_of(settings).write_bytes(msgspec.json.encode({"secret_key": "k" * 40}))
    kept = open_secrets(settings)
    assert kept.secret_key == "k" * 40
    assert kept.module_key
    assert open_secrets(settings) == kept


def test_a_broken_file_is_told_of_in_one_line(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    path_of(settings).write_text('{"secret_key": "torn')
    with pytest.raises(SettingsError, match=r"secrets\.json") as refused:
        open_secrets(settings)
    assert "\n" not in str(refused.value)
    assert "torn" not in str(refused.value)
    assert path_of(settings).read_text() == '{"secret_key": "torn', "nothing is thrown away"


def test_nothing_of_them_is_logged(tmp_path: Path) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        kept = open_secrets(Settings(data_dir=str(tmp_path)))
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    for secret in (kept.secret_key, kept.module_key, kept.admin_password):
        assert secret not in written.getvalue()
