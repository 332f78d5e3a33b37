"""What a sentence claims, in units that can be looked for in a passage: words, pairs of Chinese characters, numbers, identifiers."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import msgspec

from jobs.cpu.chunk_language import CJK

_LATIN = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ0-9_](?:[A-Za-zÀ-ÖØ-öø-ÿ0-9_.+/:@-]*[A-Za-zÀ-ÖØ-öø-ÿ0-9_+])?")
_PARTS = re.compile(r"[a-zà-öø-ÿ]+")
_NUMBER = re.compile(r"(?<![A-Za-z0-9_.])\d+(?:,\d{3})*(?:\.\d+)?(?![A-Za-z0-9_]*[A-Za-z_])")
_WITH_UNIT = re.compile(r"(?<![A-Za-z0-9_.])(\d+(?:\.\d+)?)(?=[A-Za-z]{1,3}(?![A-Za-z0-9_]))")  # 8GB, 30s
_IN_TEN_THOUSANDS = re.compile(r"(\d+(?:\.\d+)?) ?([万亿])")
# How an item of a list begins; its number is none that is claimed.
_LISTED = re.compile(
    r"^\s*(?:#+\s|[-*•·]\s|\d{1,3}[.)、）](?!\d)\s*|[(（]\d{1,3}[)）]|[①-⑳]|(?:步骤|第?步|Step)\s*\d{1,3}\s*[:：.、])+", re.IGNORECASE
)
_PLAIN_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
# Names of things in computing: a digit inside, a sign inside, or a capital after a small letter. Hyphens alone are in plain words too.
_IDENTIFIER = re.compile(r"(?=.*[A-Za-z])(?:.*[_/:@+\d].*|.*\w\.\w.*|.*[a-z][A-Z].*)")
# Characters that hold Chinese sentences together; between them lie the words that carry what is said.
_FILLERS = "的了是在和与或及也都就而被把对从到由其这那个们着过吗呢吧啊您你我他它可会能将则该每各些所以为之以"
_CJK_RUN = re.compile(f"(?:(?![{_FILLERS}])[{CJK}])+")
_CHINESE_NUMBER = re.compile("([零〇一二两三四五六七八九十百千万]+)(?=[个天年月日号次分秒小时周名人页条项章节篇元倍级步层种类台份位学轮])")
_CHINESE_DIGITS = {"零": 0, "〇": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}
_CHINESE_TENS = {"十": 10, "百": 100, "千": 1000, "万": 10_000}
_LARGE = {"万": 10_000, "亿": 100_000_000}
_ENGLISH_NUMBERS = {
    word: number
    for number, word in enumerate("two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split(), 2)
}
_STOP_WORDS = frozenset(
    "a an the of to in on at by for from with as is are was were be been being it its this that these those and or but if then than so "
    "such can could may might must shall should will would do does did have has had you your we our they their he she i not no which who "
    "what when where how all any each other into also only there here about over under after before more most use used via per".split()
)
_NEGATION_EN = re.compile(r"\b(?:not|no|never|without|cannot|none|neither|nor)\b|n't\b", re.IGNORECASE)
_NEGATION_ZH = re.compile("不(?![同仅但断过少])|未(?!来)|无(?!论)|没有|禁止|勿")


class Evidence(msgspec.Struct, frozen=True):
    """The units of a text. `names` are its identifiers and `latin` all its Latin words, in small letters; `numbers` are normalised."""

    units: frozenset[str]
    numbers: frozenset[str]
    names: frozenset[str]
    latin: frozenset[str]
    negated: bool


def normalised(text: str) -> str:
    """Full-width letters and digits as ASCII, other compatibility characters as their plain ones (Unicode NFKC)."""
    return unicodedata.normalize("NFKC", text)


@lru_cache(maxsize=512)
def evidence(text: str) -> Evidence:
    """The units of a text, function words left out."""
    text = normalised(_LISTED.sub(" ", text))
    text = _IN_TEN_THOUSANDS.sub(lambda found: f"{float(found[1]) * _LARGE[found[2]]:.0f}", _WITH_UNIT.sub(r"\1 ", text))
    tokens = _LATIN.findall(text)
    names = frozenset(token.lower() for token in tokens if _IDENTIFIER.fullmatch(token) and not _PLAIN_NUMBER.fullmatch(token))
    words = [part for token in tokens for part in _PARTS.findall(token.lower())]
    latin = frozenset(word for word in words if word not in _STOP_WORDS and len(word) > 1)
    numbers = _numbers(text)
    pairs = {run[at : at + 2] for run in _CJK_RUN.findall(text) for at in range(len(run) - 1)}
    negated = bool(_NEGATION_EN.search(text) or _NEGATION_ZH.search(text))
    return Evidence(frozenset(map(stem, latin)) | names | numbers | pairs, numbers, names, latin, negated)


def stem(word: str) -> str:
    """A word without the commonest English endings: crude, but the same on both sides."""
    for ending, instead in (("ies", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""), ("ly", ""), ("e", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word[: -len(ending)] + instead
    return word


def _numbers(text: str) -> frozenset[str]:
    """Numbers without their thousands' commas; Chinese numerals before a measure and English words from two on as digits."""
    found = {_trimmed(number.replace(",", "")) for number in _NUMBER.findall(text)}
    found |= {str(value) for run in _CHINESE_NUMBER.findall(text) if (value := _chinese_value(run)) > 1}
    found |= {str(_ENGLISH_NUMBERS[word]) for word in _PARTS.findall(text.lower()) if word in _ENGLISH_NUMBERS}
    return frozenset(found)


def _trimmed(number: str) -> str:
    whole, dot, fraction = number.partition(".")
    fraction = fraction.rstrip("0")
    return (whole.lstrip("0") or "0") + (dot + fraction if fraction else "")


def _chinese_value(run: str) -> int:
    """The value of a run of Chinese numerals: 二十三 is 23, 两百 200, 二〇二六 2026."""
    if not any(character in _CHINESE_TENS for character in run):
        return int("".join(str(_CHINESE_DIGITS[character]) for character in run))
    total, below, digit = 0, 0, 0
    for character in run:
        if character in _CHINESE_DIGITS:
            digit = _CHINESE_DIGITS[character]
        elif character == "万":
            total, below, digit = total + (below + digit or 1) * 10_000, 0, 0
        else:
            below, digit = below + (digit or 1) * _CHINESE_TENS[character], 0
    return total + below + digit
