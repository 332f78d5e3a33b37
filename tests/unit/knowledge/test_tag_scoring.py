"""How the evidence for a tag becomes a score and a sentence."""

from __future__ import annotations

import random

import pytest

from jobs.cpu.tag_words import Mentions
from server.knowledge.tag_suggestions import LEAST_SHOWN, SUBJECTS, nearness, reason, score, tag_text
from server.knowledge.tag_writing import LEAST_SCORE
from server.knowledge.words import language

# Cosines of unrelated subjects with a Chinese manual, as the bundled model gives them.
COSINES = [0.09, 0.1, 0.11, 0.12, 0.12, 0.13, 0.13, 0.14, 0.14, 0.15, 0.15, 0.15, 0.16, 0.16, 0.17, 0.17, 0.18, 0.19, 0.2, 0.22]


def test_no_evidence_is_no_suggestion() -> None:
    assert score(0.0, 0, 300) < 0.001
    assert score(None, 0, 300) < 0.001
    assert score(9.0, 40, 0) == 0.0
    assert score(2.0, 2, 300) < LEAST_SHOWN


def test_both_kinds_of_evidence_raise_the_score() -> None:
    assert score(2.0, 5, 300) < score(4.0, 5, 300) < score(8.0, 5, 300)
    assert score(4.0, 0, 300) < score(4.0, 5, 300) < score(4.0, 20, 300)


@pytest.mark.parametrize(("near", "mentions", "passages"), [(6.5, 20, 300), (4.5, 50, 1035), (6.0, 3, 5)])
def test_what_was_measured_as_fitting_is_written(near: float, mentions: int, passages: int) -> None:
    assert score(near, mentions, passages) >= LEAST_SCORE


def test_a_word_that_stands_everywhere_is_not_enough() -> None:
    assert score(0.5, 900, 1000) < 0.3


def test_a_short_document_mentions_less_often() -> None:
    assert score(3.0, 3, 5) > score(3.0, 3, 500)


def test_nearness_does_not_depend_on_the_models_scale() -> None:
    narrow = [0.8 + cosine / 10 for cosine in COSINES]
    assert nearness(0.3, COSINES) == pytest.approx(nearness(0.83, narrow))
    assert nearness(0.3, COSINES) > 4


def test_nearness_leaves_out_the_subjects_that_a_document_is_about() -> None:
    shuffled = random.Random(3).sample(COSINES, len(COSINES))
    about = [*sorted(COSINES)[:-2], 0.7, 0.6]
    assert nearness(0.3, about) == pytest.approx(nearness(0.3, shuffled))


def test_subjects_that_are_all_alike_do_not_divide_by_nothing() -> None:
    assert nearness(0.5, [0.5] * 20) == 0.0


def test_the_subjects_are_in_their_language() -> None:
    assert {name: {language(one) for one in those} for name, those in SUBJECTS.items()} == {"zh": {"zh"}, "en": {"en"}}
    assert len(set(SUBJECTS["zh"])) == len(SUBJECTS["zh"]) == len(SUBJECTS["en"])


def test_the_reason_says_what_was_found() -> None:
    both = reason(Mentions(12, ("防火墙", "iptables")), 340, 45)
    assert both.say("zh") == "12 段提到“防火墙 / iptables”（共 340 段）；最接近的段落在第 45 页"
    assert both.english() == "12 of 340 passages mention “防火墙 / iptables”; the nearest passage is on page 45"
    assert reason(Mentions(0, ()), 340, 45).english() == "It is not mentioned by name; the nearest passage is on page 45"
    assert reason(Mentions(1, ("a",)), 3, None).english() == "1 of 3 passages mention “a”"
    assert reason(Mentions(0, ()), 3, None).english() == "Nothing in the text speaks for it"


def test_what_is_embedded_reads_like_a_sentence_of_its_language() -> None:
    assert tag_text("防火墙", "过滤网络流量", ["iptables", "nftables"]) == "防火墙。过滤网络流量。iptables、nftables"
    assert tag_text("Firewall", "", []) == "Firewall"
