"""Whether a statement only reads: one SELECT, or WITH … SELECT, and nothing that writes a file, locks or waits."""

from __future__ import annotations

import re

from server.messages import Text, text

# Quoted text and names, and comments: what may hold any word. To MySQL and MariaDB /*! and /*M! begin no comment, nor does -- before
# a letter. Whether a backslash escapes a quote is a setting of the server: a statement must be good both ways.
_COMMENTS = r"--(?=\s|$)[^\n]*|#[^\n]*|/\*(?!M?!).*?\*/"
_QUIET = (
    re.compile(rf"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`[^`]*`|{_COMMENTS}", re.DOTALL),
    re.compile(rf"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|{_COMMENTS}", re.DOTALL),
)
_FIRST = re.compile(r"\s*\(*\s*(?:SELECT|WITH)\b", re.IGNORECASE)
_FORBIDDEN = re.compile(
    r"/\*M?!|\b(?:INSERT|UPDATE|DELETE|MERGE|DROP|ALTER|CREATE|GRANT|REVOKE|TRUNCATE|RENAME|CALL|ATTACH|DETACH|PRAGMA|VACUUM|HANDLER"
    r"|LOCK|UNLOCK|INTO|OUTFILE|DUMPFILE|LOAD_FILE|LOAD_EXTENSION|SLEEP|BENCHMARK|GET_LOCK)\b|\bREPLACE\b(?!\s*\()",
    re.IGNORECASE,
)


def wrong_statement(statement: str) -> Text | None:
    """Why it cannot be run; None when it can."""
    for quiet in _QUIET:
        bare = quiet.sub(" ", statement).strip().removesuffix(";")
        if ";" in bare:
            return text("hr.source.one_statement")
        if not _FIRST.match(bare):
            return text("hr.source.select_only")
        if found := _FORBIDDEN.search(bare):
            return text("hr.source.word_forbidden", word=found[0].upper())
    return None
