"""Evaluation sets, their questions and runs, as callers see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from server.knowledge.eval_figures import ModeFigures, QuestionRanks
from server.knowledge.search_schemas import Words
from server.paging import PageQuery

MOST_QUESTIONS = 1000
SetName = Annotated[str, msgspec.Meta(min_length=1, max_length=190, pattern=r"\S")]
Kind = Annotated[str, msgspec.Meta(max_length=64)]
PageNumber = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class EvaluationBody(msgspec.Struct, forbid_unknown_fields=True):
    """A new set; without an organization it is the caller's own one's."""

    name: SetName
    organization_id: int | None = None


class EvaluationPatch(msgspec.Struct, forbid_unknown_fields=True):
    name: SetName


class EvaluationQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    organization_id: int | None = None


class EvaluationRunQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    pass


class EvaluationSet(msgspec.Struct, kw_only=True):
    """A set of questions with known answers."""

    id: int
    organization_id: int
    name: str
    questions: int
    may_change: bool
    created_at: datetime
    updated_at: datetime


class Expected(msgspec.Struct, forbid_unknown_fields=True):
    """Pages of a document that answer a question; each of them is a right answer."""

    document_id: int
    pages: Annotated[list[PageNumber], msgspec.Meta(min_length=1, max_length=200)]


class EvaluationQuestion(msgspec.Struct, forbid_unknown_fields=True):
    """A question, what kind it is of (figures are given by kind), and where its answer stands."""

    question: Words
    expected: Annotated[list[Expected], msgspec.Meta(min_length=1, max_length=20)]
    kind: Kind = ""


class QuestionsBody(msgspec.Struct, forbid_unknown_fields=True):
    """All questions of a set; they take the place of those it had."""

    questions: Annotated[list[EvaluationQuestion], msgspec.Meta(max_length=MOST_QUESTIONS)]


class ShownExpected(msgspec.Struct):
    """As it was given; the title is null where the caller may not see the document, or it is gone."""

    document_id: int
    pages: list[int]
    title: str | None


class ShownQuestion(msgspec.Struct):
    id: int
    question: str
    kind: str
    expected: list[ShownExpected]


class EvaluationFigures(msgspec.Struct):
    """What a run measured: overall and by kind, keyword, dense and hybrid; the model, the versions of reading, seconds.

    `ranks` has every question with the rank of the first expected page in each mode; empty in lists.
    """

    questions: int
    overall: ModeFigures
    kinds: dict[str, ModeFigures]
    model: str
    readers: list[int]
    took_s: float
    ranks: list[QuestionRanks] = []


class EvaluationRun(msgspec.Struct, kw_only=True):
    """A run; while it goes on, its task's topic (task:TASK_ID) tells how far it is."""

    id: str
    set_id: int
    task_id: str
    state: str
    model: str
    figures: EvaluationFigures | None
    error: str | None
    created_at: datetime
    ended_at: datetime | None
