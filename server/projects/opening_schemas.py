"""What the routes of student projects take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from server.paging import PageQuery
from server.projects.project_schemas import Id, Title

Unset = msgspec.UnsetType
UNSET = msgspec.UNSET
Description = Annotated[str, msgspec.Meta(max_length=50_000)]
# It becomes a field of the project: as JSON it must stay below MOST_FIELDS_BYTES.
Statement = Annotated[str, msgspec.Meta(max_length=10_000)]
Comment = Annotated[str, msgspec.Meta(max_length=10_000)]
Places = Annotated[int, msgspec.Meta(ge=1, le=1000)]
TeamSize = Annotated[int, msgspec.Meta(ge=1, le=50)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
UserName = Annotated[str, msgspec.Meta(min_length=1, max_length=150)]
Invited = Annotated[list[Id], msgspec.Meta(max_length=50)]
InvitedNames = Annotated[list[UserName], msgspec.Meta(max_length=50)]
Flag = Annotated[int, msgspec.Meta(ge=0, le=1)]
Word = Annotated[str, msgspec.Meta(max_length=64)]
MENTOR_LIMIT = 8


class OpeningBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A new opening, of the caller's organization and with the caller as its mentor unless others are named.

    `places`: how many teams can be taken; a team has `team_least` to `team_most` people, who applies included.
    """

    title: Title
    description: Description = ""
    organization_id: Id | None = None
    mentor_id: Id | None = None
    places: Places = 1
    team_least: TeamSize = 1
    team_most: TeamSize = 5
    deadline: Moment | None = None
    state: Literal["draft", "open"] = "open"


class OpeningPatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is left out stays."""

    title: Title | Unset = UNSET
    description: Description | Unset = UNSET
    mentor_id: Id | Unset = UNSET
    places: Places | Unset = UNSET
    team_least: TeamSize | Unset = UNSET
    team_most: TeamSize | Unset = UNSET
    deadline: Moment | Unset | None = UNSET


class OpeningQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """A page of openings; `q` searches titles and descriptions.

    `accepting`: 1 for those that one can apply for now; `mine`: 1 for those whose mentor the caller is; `undecided`: 1 for those whose
    deadline is over and where the caller has applications to decide.
    """

    state: Word = ""
    organization_id: Id | None = None
    mentor_id: Id | None = None
    accepting: Flag = 0
    mine: Flag = 0
    undecided: Flag = 0


class Opening(msgspec.Struct, kw_only=True):
    """An opening. `accepting`: one can apply for it now. `waiting`: applications to be decided, shown to who decides; else null."""

    id: int
    title: str
    description: str
    organization_id: int
    organization: str
    mentor_id: int
    mentor: str
    places: int
    places_taken: int
    team_least: int
    team_most: int
    state: str
    deadline: datetime | None
    accepting: bool
    waiting: int | None
    may_change: bool
    created_at: datetime
    updated_at: datetime


class ApplicationBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An application: why, and who else is invited to the team, by id or by user name."""

    statement: Statement = ""
    team: Invited = []
    usernames: InvitedNames = []


class ApplicationPatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`team` and `usernames` are invited besides those who are there; `drop` are taken out of the team."""

    statement: Statement | Unset = UNSET
    team: Invited = []
    usernames: InvitedNames = []
    drop: Invited = []


class ApplicationQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """A page of applications; `undecided`: 1 for those that wait for a decision although the deadline is over."""

    state: Word = ""
    undecided: Flag = 0


class Decision(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    decision: Literal["accept", "decline"]
    comment: Comment = ""


class TeamMember(msgspec.Struct, kw_only=True):
    """Who was asked into a team, and what they said: invited, joined or refused."""

    user_id: int
    username: str
    name: str
    state: str


class Application(msgspec.Struct, kw_only=True):
    """An application. `size`: the applicant and who has joined; `gap`: why the team is not complete, empty when it is.

    `undecided`: it waits although the deadline is over.
    """

    id: int
    opening_id: int
    opening: str
    mentor_id: int
    mentor: str
    applicant_id: int
    applicant: str
    statement: str
    state: str
    team: list[TeamMember]
    size: int
    team_least: int
    team_most: int
    complete: bool
    gap: str
    deadline: datetime | None
    undecided: bool
    comment: str | None
    decided_by: int | None
    decided_at: datetime | None
    project_id: int | None
    may_decide: bool
    created_at: datetime


class MentorQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """A page of mentors; `limit`: with more projects under way than that a mentor is marked."""

    organization_id: Id | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = MENTOR_LIMIT


class MentorLoad(msgspec.Struct, kw_only=True):
    """A mentor's work, as far as the caller may see it. `openings`: those that are open, with their places and how many are taken.

    `projects`: student projects that are under way in any state, `running` those that run, `students` the people in them.
    """

    mentor_id: int
    mentor: str
    openings: int
    places: int
    places_taken: int
    projects: int
    running: int
    students: int
    above_limit: bool
