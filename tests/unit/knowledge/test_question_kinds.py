"""Question kinds: what is asked, what is expected, what is cut from the passages."""

from __future__ import annotations

import pytest

from jobs.cpu.shapes import Chunk
from server.knowledge.outline import aligned, sections_of
from server.knowledge.question_kinds import (
    Kind,
    QuestionSet,
    both_languages,
    cross_language,
    headings,
    identifiers,
    of_document,
    of_parallel,
    sentences,
    split,
)
from server.knowledge.words import language


def chunk(path: str, text: str) -> Chunk:
    return Chunk(1, path.split(" > ") if path else [], text, [(0, 0, 1, 1)], language(text))


ENGLISH = [
    chunk("", "Title page of the manual."),
    chunk("Disks", "About disks in general, which every system has, small or large."),
    chunk("Disks > Resizing partitions", "Use resize2fs after unmounting the file system that you want to change."),
    chunk("Disks > Resizing partitions", "Then mount it again with mount and look at df."),
    chunk("Disks > tmpfs", "A file system in memory. See tmpfs.txt for more."),
    chunk("Network > The hosts file", "Names are kept in /etc/hosts."),
    chunk("Network > Host names", "Set it with hostnamectl."),
]
CHINESE = [
    chunk("磁盘", "每个系统都有磁盘，这里先作一般的介绍，说明大小的区别。"),
    chunk("磁盘 > 调整分区", "卸载之后使用 resize2fs 命令。"),
    chunk("磁盘 > tmpfs", "内存中的文件系统，参见 tmpfs.txt。"),
    chunk("网络 > 主机文件", "名字保存在 /etc/hosts 文件中。"),
    chunk("网络 > 主机名", "用 hostnamectl 设置。"),
]


def asked(found: QuestionSet) -> dict[str, set[int]]:
    return {question.text: set(question.expected) for question in found.questions}


def test_sections_have_their_own_chunks_and_those_below() -> None:
    found = {section.title: (section.own, section.subtree) for section in sections_of(ENGLISH)}
    assert found["Disks"] == ((1,), (1, 2, 3, 4))
    assert found["Resizing partitions"] == ((2, 3), (2, 3))
    assert found["Network"] == ((), (5, 6))


def test_a_heading_asks_for_its_own_section_and_is_cut_from_it() -> None:
    found = headings(ENGLISH)
    assert asked(found) == {"Disks": {1}, "Resizing partitions": {2, 3}, "tmpfs": {4}, "The hosts file": {5}, "Host names": {6}}
    assert next(question for question in found.questions if question.text == "Disks").subtree == {1, 2, 3, 4}
    passage = found.passages[2]
    assert (passage.path, passage.heading) == (("Disks",), "")
    assert passage.keyword_text == f"Disks\n{ENGLISH[2].text}"
    assert found.passages[0].keyword_text == ENGLISH[0].text


def test_a_title_that_stands_twice_asks_for_both_sections() -> None:
    twice = [chunk("A > 参考", "一"), chunk("B > 参考", "二")]
    assert asked(headings(twice)) == {"参考": {0, 1}}


def test_sentences_are_expected_wherever_they_stand() -> None:
    overlapping = [*CHINESE, chunk("磁盘 > 附", CHINESE[0].text)]
    found = asked(sentences(overlapping))
    assert found[CHINESE[0].text] == {0, 5}
    assert found["卸载之后使用 resize2fs 命令。"] == {1}
    assert "Set it with hostnamectl." not in asked(sentences(ENGLISH)), "too short to be told from others"
    assert sentences(CHINESE).passages[1].heading == "调整分区"


def test_identifiers_are_rare_names() -> None:
    found = asked(identifiers(ENGLISH))
    assert found["resize2fs"] == {2}
    assert found["etc/hosts"] == {5}
    assert "again" not in found, "an English word is no name"
    assert asked(identifiers(CHINESE))["hostnamectl"] == {4}
    common = [chunk(f"章{n}", "用 rsync 备份") for n in range(4)]
    assert asked(identifiers(common)) == {}


def test_a_sample_does_not_depend_on_the_order() -> None:
    assert [question.text for question in identifiers(CHINESE, most=2).questions] == [
        question.text for question in identifiers(CHINESE[::-1], most=2).questions
    ]


def test_outlines_are_aligned_by_depth_and_shared_words() -> None:
    pairs = [(one.title, two.title) for one, two in aligned(ENGLISH, CHINESE)]
    assert pairs == [
        ("Disks", "磁盘"),
        ("Resizing partitions", "调整分区"),
        ("tmpfs", "tmpfs"),
        ("Network", "网络"),
        ("The hosts file", "主机文件"),
        ("Host names", "主机名"),
    ]


def test_a_section_that_is_missing_in_one_stays_alone() -> None:
    for missing in range(len(CHINESE)):
        rest = CHINESE[:missing] + CHINESE[missing + 1 :]
        pairs = {one.title: two.title for one, two in aligned(ENGLISH, rest)}
        complete = {one.title: two.title for one, two in aligned(ENGLISH, CHINESE)}
        gone = {title for title, other in complete.items() if other == CHINESE[missing].path[-1]} - {"Disks"}
        assert {title: other for title, other in complete.items() if title not in gone}.items() == pairs.items()


def test_cross_language_asks_for_the_section_at_the_same_place() -> None:
    found = cross_language(ENGLISH, CHINESE)
    assert asked(found) == {"Disks": {0}, "Resizing partitions": {1}, "The hosts file": {3}, "Host names": {4}}
    assert found.passages[1].heading == ""


def test_both_languages_count_either_or_the_other_one() -> None:
    either, other = both_languages(ENGLISH, CHINESE), both_languages(ENGLISH, CHINESE, Kind.BOTH_OTHER)
    assert asked(either)["Resizing partitions"] == {2, 3, 8}
    assert asked(other)["Resizing partitions"] == {8}
    assert either.passages == other.passages
    assert len(either.passages) == len(ENGLISH) + len(CHINESE)


def test_split_has_every_answer_once() -> None:
    found, other = split(ENGLISH, CHINESE), split(ENGLISH, CHINESE, Kind.SPLIT_OTHER)
    texts = [passage.text for passage in found.passages]
    assert texts == [one.text for one in [*ENGLISH[1:5], *CHINESE[3:]]]
    assert asked(found)["Resizing partitions"] == {1, 2}
    assert asked(other) == {"The hosts file": {4}, "Host names": {5}}


def test_all_kinds_have_questions_and_expect_passages_that_are_there() -> None:
    sets = [*of_document(ENGLISH), *of_parallel(ENGLISH, CHINESE), *of_parallel(CHINESE, ENGLISH)]
    assert {found.kind for found in sets} == set(Kind)
    for found in sets:
        for question in found.questions:
            assert question.expected
            assert question.expected <= question.subtree
            assert max(question.subtree) < len(found.passages)


def test_a_document_without_headings_has_no_questions_of_headings() -> None:
    assert headings([chunk("", "text")]).questions == []
    assert of_parallel([], [])[0].questions == []


@pytest.mark.parametrize(
    ("title", "asked_as"),
    [
        ("2.1.4 Debian 档案库基础", "Debian 档案库基础"),
        ("第 3 章 系统初始化", "系统初始化"),
        ("Chapter 3. The system", "The system"),
        ("A.1 The Debian maze", "The Debian maze"),
        ("A new file", "A new file"),
        ("7.7", "7.7"),
        ("tmpfs", "tmpfs"),
    ],
)
def test_a_heading_is_asked_without_its_number(title: str, asked_as: str) -> None:
    assert list(asked(headings([chunk(title, "text")]))) == [asked_as]


def test_a_bare_heading_is_not_asked() -> None:
    assert asked(headings([chunk("A", "A"), chunk("B", "text")])) == {"B": {1}}
