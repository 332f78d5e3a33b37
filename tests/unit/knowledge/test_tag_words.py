"""How often the words of tags stand in passages."""

from __future__ import annotations

from jobs.cpu.tag_words import Mentions, count_mentions

TEXTS = ["配置防火墙：iptables 与 nftables", "The Firewall drops packets.", "firewalls and make-up", "ＡＰＴ 与 apt-get"]


def test_a_passage_counts_once_however_many_words_it_has() -> None:
    assert count_mentions(TEXTS, {1: ["防火墙", "iptables", "nftables"]}) == {1: Mentions(1, ("防火墙", "iptables", "nftables"))}


def test_a_latin_word_must_stand_as_a_whole_in_any_case() -> None:
    found = count_mentions(TEXTS, {1: ["firewall"], 2: ["fire"], 3: ["make"], 4: ["MAKE-UP"]})
    assert found[1] == Mentions(1, ("firewall",))
    assert found[2] == Mentions(0, ())
    assert found[3].passages == 1
    assert found[4] == Mentions(1, ("MAKE-UP",))


def test_full_width_letters_are_letters_and_chinese_needs_no_spaces() -> None:
    assert count_mentions(TEXTS, {1: ["apt"], 2: ["火墙"]}) == {1: Mentions(1, ("apt",)), 2: Mentions(1, ("火墙",))}


def test_the_most_frequent_word_comes_first() -> None:
    texts = ["甲 乙", "乙", "乙 丙"]
    assert count_mentions(texts, {1: ["甲", "乙", "丁"]}) == {1: Mentions(3, ("乙", "甲"))}


def test_empty_words_and_signs_match_nothing_by_accident() -> None:
    assert count_mentions(["a.b (c++) x"], {1: ["", " "], 2: ["a?b"], 3: ["c++"]}) == {
        1: Mentions(0, ()),
        2: Mentions(0, ()),
        3: Mentions(1, ("c++",)),
    }
