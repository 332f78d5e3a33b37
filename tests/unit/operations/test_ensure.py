"""What is asked of an environment, as a hash."""

from __future__ import annotations

from pathlib import Path

from scripts.ensure import digest, identity, included, stands


def test_a_requirements_file_brings_those_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "dev.txt").write_text("# what tests need\n-r base.txt  # first\npytest\n")
    (tmp_path / "base.txt").write_text("tornado\n")
    assert [path.name for path in included(tmp_path / "dev.txt")] == ["dev.txt", "base.txt"]


def test_the_hash_changes_with_each_text_and_with_the_python(tmp_path: Path) -> None:
    (tmp_path / "dev.txt").write_text("-r base.txt\n")
    (tmp_path / "base.txt").write_text("tornado\n")
    before = digest(tmp_path / "dev.txt", "3.11.7 /usr/bin/python3.11")
    assert digest(tmp_path / "dev.txt", "3.12.0 /usr/bin/python3.12") != before
    (tmp_path / "base.txt").write_text("tornado==6\n")
    assert digest(tmp_path / "dev.txt", "3.11.7 /usr/bin/python3.11") != before


def test_an_environment_stands_when_its_mark_is_right_and_its_python_is_there(tmp_path: Path) -> None:
    requirements, venv = tmp_path / "requirements.txt", tmp_path / ".venv"
    requirements.write_text("tornado\n")
    assert identity(venv) == ""
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.7\n")
    assert identity(venv) == ""
    (venv / "bin" / "python").symlink_to("/bin/sh")
    assert identity(venv).startswith("3.11.7 /")
    assert not stands(venv, requirements)
    (venv / ".installed-requirements.txt").write_text(digest(requirements, identity(venv)) + "\n")
    assert stands(venv, requirements)
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to("/bin/cat")  # the system's Python was replaced
    assert not stands(venv, requirements)
