"""Which language a text is written in, told by its characters."""

from __future__ import annotations

import re

from jobs.cpu.shapes import Language

CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_CJK = re.compile(f"[{CJK}]")
_WORD = re.compile(r"[^\W\d_]")


def language_of(text: str) -> Language:
    """ "zh" where there is a Chinese character, "en" where there are other letters, "" where there are none.

    One Chinese character is enough: manuals in Chinese are full of commands and Latin names, and a text in
    English has none. Telling by shares instead sends Chinese passages with listings to the wrong language.
    """
    if _CJK.search(text):
        return "zh"
    return "en" if _WORD.search(text) else ""
