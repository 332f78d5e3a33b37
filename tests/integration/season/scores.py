"""What the reviewers give, and what it comes to, worked out by hand."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

CRITERIA = [{"name": "novelty", "weight": 2.0, "max": 10.0}, {"name": "feasibility", "weight": 1.0, "max": 10.0}]
POOL = ("expert1", "expert2", "expert3", "teacher11")
# Every project has one reviewer of the four who may not have it, so that three reviews each leave no choice.
CONFLICTS = {
    ("A", "expert1"): "declared",
    ("B", "expert2"): "team",
    ("C", "expert3"): "declared",
    ("D", "expert1"): "common_project",
    ("E", "teacher11"): "organization",
    ("G", "teacher11"): "organization",
}
# Novelty and feasibility; the total is 2 · novelty + feasibility, noted beside it.
GIVEN = {
    ("A", "expert2"): (9, 8),  # 26
    ("A", "expert3"): (9, 9),  # 27
    ("A", "teacher11"): (8, 9),  # 25
    ("B", "expert1"): (7, 8),  # 22
    ("B", "expert3"): (8, 8),  # 24
    ("B", "teacher11"): (7, 6),  # 20
    ("C", "expert1"): (6, 6),  # 18
    ("C", "expert2"): (7, 7),  # 21
    ("C", "teacher11"): (6, 6),  # 18
    ("D", "expert2"): (5, 6),  # 16
    ("D", "expert3"): (6, 6),  # 18
    ("D", "teacher11"): (5, 4),  # 14
    ("E", "expert1"): (9, 5),  # 23
    ("E", "expert2"): (8, 7),  # 23
    ("E", "expert3"): (9, 8),  # 26
    ("G", "expert1"): (4, 3),  # 11
    ("G", "expert2"): (5, 2),  # 12
    ("G", "expert3"): (4, 5),  # 13
}


class Line(NamedTuple):
    """A project in the table: mean, median and sample standard deviation of its totals, and its place by the mean."""

    mean: float
    median: float
    spread: float
    place: int


TABLE = {
    "A": Line(26, 26, 1, 1),
    "E": Line(24, 23, sqrt(3), 2),
    "B": Line(22, 22, 2, 3),
    "C": Line(19, 18, sqrt(3), 4),
    "D": Line(16, 16, 2, 5),
    "G": Line(12, 12, 1, 6),
}
# Interval data (K. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011), α = 1 − Do/De over the 18 totals. The squares about
# the projects' own means sum to 2+6+8+6+8+2 = 32; three to a project, Do = 3 · 32 / 18. The totals sum to 357 and their squares to 7523,
# so that the squares about the mean of all sum to 7523 − 357²/18 = 442.5, and De = 2 · 442.5 / 17.
ALPHA = 1 - (3 * 32 / 18) / (2 * 442.5 / 17)
ACCEPTED, LEFT_OUT = ("A", "E", "B", "C"), ("D", "G")
