"""Answers without a model: what is relevant, and what is quoted."""

from __future__ import annotations

import pytest

from server.knowledge.assistant_quotes import (
    LONGEST_QUOTED,
    MOST_QUOTED,
    UNKNOWN,
    about,
    best_sentences,
    is_about,
    language_for,
    quoted_answer,
)
from tests.unit.knowledge.found import Found

LEAVE = "学生须遵守校规。请假三天以内由辅导员审批，超过七天须报教务处备案。病假须附诊断证明。"


@pytest.mark.parametrize(
    ("question", "similarity", "relevant"),
    [
        ("请假超过七天找谁", 0.45, True),
        ("请假超过七天找谁审批", 0.2, True),
        ("请假超过七天找谁审批", 0.0, True),
        ("红烧肉怎么做才好吃", 0.2, False),
        ("红烧肉怎么做才好吃", 0.0, False),
        ("How do I bake bread?", 0.15, False),
        ("Who approves a long leave?", 0.4, True),
    ],
)
def test_what_is_about_a_question(question: str, similarity: float, relevant: bool) -> None:
    passage = Found(LEAVE, similarity=similarity)
    assert is_about(question, passage) == relevant
    assert about(question, [Found("别的", similarity=0.01), passage]) == ([Found("别的", similarity=0.01), passage] if relevant else [])


def test_the_best_sentences_are_quoted_verbatim() -> None:
    quote = best_sentences("请假超过七天找谁审批", Found(LEAVE))
    assert quote == "请假三天以内由辅导员审批，超过七天须报教务处备案。病假须附诊断证明。"
    long = Found("别的事情。" * 40 + "请假由辅导员审批。" + "其余的事情。" * 200)
    quote = best_sentences("请假由谁审批", long)
    assert quote.startswith("请假由辅导员审批。")
    assert quote in long.text
    assert len(quote) <= LONGEST_QUOTED


def test_an_answer_of_quotations() -> None:
    passages = [
        Found(LEAVE, chunk_id="a", score=0.9),
        Found("请假须提前申请。", chunk_id="b", score=0.7),
        Found("请假不影响成绩。", chunk_id="c", score=0.1),
        *[Found("请假。", chunk_id=str(n), score=0.8) for n in range(5)],
    ]
    text, citations = quoted_answer("请假超过七天找谁", passages, "zh")
    assert len(citations) == MOST_QUOTED
    assert [one.chunk_id for one in citations] == ["a", "b", "0"]
    for one in citations:
        assert f"- {one.quote} [{one.n}]" in text
    assert all(one.quote in next(passage.text for passage in passages if passage.chunk_id == one.chunk_id) for one in citations)


def test_not_knowing_is_said_in_the_questions_language() -> None:
    assert quoted_answer("今天食堂几点开门", [], language_for("今天食堂几点开门")) == (UNKNOWN["zh"], [])
    assert quoted_answer("When does the cafeteria open?", [], language_for("When does the cafeteria open?")) == (UNKNOWN["en"], [])
