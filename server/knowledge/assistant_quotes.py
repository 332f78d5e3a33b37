"""Answers without a model: whether anything that was found is about the question, and the sentences that are."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.cpu.chunk_language import language_of
from server.knowledge.assistant_evidence import evidence
from server.knowledge.assistant_schemas import Citation
from server.knowledge.assistant_stream import citation_of
from server.knowledge.citations import Passage, parts_of

# When a passage is about a question: by the cosine of their vectors alone, or by a smaller one together with the share of the question's
# words that occur, or by words alone where no vector was compared. Chosen on 70 questions against each of the two Debian reference
# manuals (420 and 306 passages, bundled model): docs/assistant.md has the figures. Another model's cosines run higher, which only lets
# more pass.
NEAR_ENOUGH = 0.28
NEAR_WITH_WORDS = 0.18
LEAST_WORDS = 0.2
LEAST_WORDS_ALONE = 0.4

MOST_QUOTED = 3
LONGEST_QUOTED = 300
# A further passage is quoted when its score is at least this share of the best one's.
CLOSE_TO_BEST = 0.6

UNKNOWN = {
    "zh": "在您可以查看的文档中没有找到这个问题的答案。",
    "en": "The documents that you may see hold no answer to this question.",
}
FOUND = {"zh": "文档中的相关内容：", "en": "The documents say:"}


def language_for(question: str) -> str:
    """The language to answer in."""
    return "zh" if language_of(question) == "zh" else "en"


def shared_words(question: str, passage: Passage) -> float:
    """The share of the question's units that occur in the passage or its headings."""
    asked = evidence(question).units
    there = evidence(passage.text).units | evidence(" \n".join([passage.title, *passage.path])).units
    return len(asked & there) / len(asked) if asked else 0.0


def is_about(question: str, passage: Passage) -> bool:
    """Whether a passage may answer the question at all."""
    if passage.similarity >= NEAR_ENOUGH:
        return True
    words = shared_words(question, passage)
    if passage.similarity == 0.0:
        return words >= LEAST_WORDS_ALONE
    return passage.similarity >= NEAR_WITH_WORDS and words >= LEAST_WORDS


def about(question: str, passages: Sequence[Passage]) -> list[Passage]:
    """All of the passages when one of them is about the question, else none."""
    return list(passages) if any(is_about(question, passage) for passage in passages) else []


def quoted_answer(question: str, passages: Sequence[Passage], language: str) -> tuple[str, list[Citation]]:
    """The best sentences of the best one to three passages, each as a line with its reference; and the citations.

    Without passages it says that it does not know.
    """
    if not passages:
        return UNKNOWN[language], []
    best = max(passage.score for passage in passages)
    near = [passage for passage in passages if is_about(question, passage) and passage.score >= CLOSE_TO_BEST * best]
    chosen = (near or list(passages[:1]))[:MOST_QUOTED]
    lines, citations = [FOUND[language]], []
    for number, passage in enumerate(chosen, 1):
        quote = best_sentences(question, passage)
        citations.append(citation_of(passage, number, quote))
        lines.append(f"- {citations[-1].quote} [{number}]")
    return "\n".join(lines), citations


def best_sentences(question: str, passage: Passage) -> str:
    """The sentence that shares most with the question, with as much of what follows as fits; verbatim."""
    parts = parts_of(passage) or [passage.text]
    asked = evidence(question).units
    shares = [len(asked & evidence(part).units) for part in parts]
    at = max(range(len(parts)), key=lambda place: shares[place])
    quote = parts[at]
    for part in parts[at + 1 :]:
        if len(quote) + len(part) > LONGEST_QUOTED:
            break
        quote += part
    return quote.strip()[: LONGEST_QUOTED * 2]
