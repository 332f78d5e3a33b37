"""The kinds of notifications: the sentence of each, and what people get who have said nothing."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from server.messages import Locale, Text, say, text
from server.messages.catalogue import CATALOGUE


class Kind(StrEnum):
    WORKFLOW_FAILED = "workflow.failed"
    DOCUMENT_FAILED = "document.failed"
    IMPORT_FINISHED = "import.finished"
    PLAN_WAITING = "hr.plan_waiting"
    HR_RUN_FAILED = "hr.run_failed"
    ACCOUNT_TASK_DEAD = "account_task.dead"
    ACCESS_OPEN = "account.access_open"
    MEMBER_JOINED = "member.joined"
    PASSWORD_CHANGED = "password.changed"
    ROLE_CHANGED = "role.changed"
    PROJECT_TRANSITION = "project.transition"
    PROJECT_DUE = "project.due"
    PROJECT_MEMBER = "project.member"
    AUDIT_WAITING = "audit.waiting"
    AUDIT_DUE = "audit.due"
    PROJECTS_IMPORTED = "project.imported"
    APPLICATION_RECEIVED = "application.received"
    APPLICATION_INVITED = "application.invited"
    APPLICATION_ANSWERED = "application.answered"
    APPLICATION_DECIDED = "application.decided"
    APPLICATION_WAITING = "application.waiting"
    REVIEW_ASSIGNED = "review.assigned"
    REVIEW_DUE = "review.due"
    REVIEW_DECLINED = "review.declined"
    MILESTONE_DUE = "milestone.due"
    MILESTONE_DELIVERED = "milestone.delivered"
    MILESTONE_CHECKED = "milestone.checked"
    ROUND_RESULTS = "round.results"


class Channel(StrEnum):
    APP = "app"
    MAIL = "mail"
    WEBHOOK = "webhook"  # to addresses of the reader's own


class Description(msgspec.Struct, frozen=True):
    """How a kind is told: its sentence and what fills it, its name, and whether by mail when the reader has not chosen.

    `always`: it is about the reader's own account and is shown whatever the reader chose, as somebody else may have chosen it.
    """

    sentence: str
    params: tuple[str, ...]
    name: str
    by_mail: bool = False
    always: bool = False


KINDS: dict[Kind, Description] = {
    # The workflow's own list of addresses gets a mail already.
    Kind.WORKFLOW_FAILED: Description("notification.workflow_failed", ("workflow", "state"), "notification.kind.workflow_failed"),
    Kind.DOCUMENT_FAILED: Description("notification.document_failed", ("title", "error"), "notification.kind.document_failed"),
    Kind.IMPORT_FINISHED: Description(
        "notification.import_finished", ("filename", "created", "updated", "errors"), "notification.kind.import_finished"
    ),
    Kind.PLAN_WAITING: Description("notification.plan_waiting", ("source", "changes"), "notification.kind.plan_waiting", by_mail=True),
    Kind.HR_RUN_FAILED: Description("notification.hr_run_failed", ("source", "error"), "notification.kind.hr_run_failed", by_mail=True),
    Kind.ACCOUNT_TASK_DEAD: Description(
        "notification.account_task_dead", ("target", "person", "error"), "notification.kind.account_task_dead"
    ),
    Kind.ACCESS_OPEN: Description("notification.access_open", ("person", "doors"), "notification.kind.access_open", by_mail=True),
    Kind.MEMBER_JOINED: Description("notification.member_joined", ("name", "organization"), "notification.kind.member_joined"),
    Kind.PASSWORD_CHANGED: Description("notification.password_changed", (), "notification.kind.password_changed", always=True),
    Kind.ROLE_CHANGED: Description("notification.role_changed", ("roles",), "notification.kind.role_changed", always=True),
    Kind.PROJECT_TRANSITION: Description(
        "notification.project_transition", ("title", "state"), "notification.kind.project_transition", by_mail=True
    ),
    Kind.PROJECT_DUE: Description("notification.project_due", ("title", "when"), "notification.kind.project_due", by_mail=True),
    Kind.PROJECT_MEMBER: Description("notification.project_member", ("title", "role"), "notification.kind.project_member"),
    Kind.AUDIT_WAITING: Description("notification.audit_waiting", ("title", "step"), "notification.kind.audit_waiting", by_mail=True),
    Kind.AUDIT_DUE: Description("notification.audit_due", ("title", "step", "when"), "notification.kind.audit_due", by_mail=True),
    Kind.PROJECTS_IMPORTED: Description(
        "notification.projects_imported", ("filename", "created", "updated", "errors"), "notification.kind.projects_imported"
    ),
    Kind.APPLICATION_RECEIVED: Description(
        "notification.application_received", ("title", "applicant"), "notification.kind.application_received", by_mail=True
    ),
    Kind.APPLICATION_INVITED: Description(
        "notification.application_invited", ("title", "applicant"), "notification.kind.application_invited", by_mail=True
    ),
    Kind.APPLICATION_ANSWERED: Description(
        "notification.application_answered", ("title", "name", "answer"), "notification.kind.application_answered"
    ),
    Kind.APPLICATION_DECIDED: Description(
        "notification.application_decided", ("title", "state"), "notification.kind.application_decided", by_mail=True
    ),
    Kind.APPLICATION_WAITING: Description(
        "notification.application_waiting", ("title", "number"), "notification.kind.application_waiting", by_mail=True
    ),
    Kind.REVIEW_ASSIGNED: Description(
        "notification.review_assigned", ("round", "number"), "notification.kind.review_assigned", by_mail=True
    ),
    Kind.REVIEW_DUE: Description("notification.review_due", ("round", "when"), "notification.kind.review_due", by_mail=True),
    Kind.REVIEW_DECLINED: Description("notification.review_declined", ("round",), "notification.kind.review_declined"),
    Kind.MILESTONE_DUE: Description(
        "notification.milestone_due", ("title", "milestone", "when"), "notification.kind.milestone_due", by_mail=True
    ),
    Kind.MILESTONE_DELIVERED: Description(
        "notification.milestone_delivered", ("title", "milestone"), "notification.kind.milestone_delivered", by_mail=True
    ),
    Kind.MILESTONE_CHECKED: Description(
        "notification.milestone_checked", ("title", "milestone", "state"), "notification.kind.milestone_checked"
    ),
    Kind.ROUND_RESULTS: Description("notification.round_results", ("round",), "notification.kind.round_results"),
}


def sentence_of(kind: str, params: Mapping[str, Any], locale: Locale) -> str:
    """What happened, in a language. What is missing stays empty, and a kind of another version is named as it is: old rows must be read."""
    if kind not in list(Kind):
        return kind
    description = KINDS[Kind(kind)]
    return say(description.sentence, locale, **{name: _filled(name, params.get(name, "")) for name in description.params})


def name_of(kind: Kind, locale: Locale) -> str:
    """What a kind is called where people choose."""
    return say(KINDS[kind].name, locale)


def _filled(name: str, value: Any) -> Any:
    """A state is said in the reader's language, and so is a sentence that was kept with its key."""
    if name == "state" and f"state.{value}" in CATALOGUE:
        return text(f"state.{value}")
    if isinstance(value, dict) and value.get("key") in CATALOGUE:
        return Text(value["key"], value.get("params") or {})
    return value
