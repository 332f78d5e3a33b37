"""Chunking: where passages are cut, what they carry, and that feeding pages one by one changes nothing."""

from __future__ import annotations

import itertools
from collections import Counter

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cpu.chunking import OVERLAP, SIZE, chunk_pages, keyword_text
from jobs.cpu.shapes import Block, Carry, Chunk, Heading, Line, Page

LINE = 12.0
SENTENCES = [f"第{n}步先检查系统的状态再继续操作。" for n in range(100)]


def lines(texts: list[str], top: float = 100.0, left: float = 50.0, right: float = 550.0) -> list[Line]:
    return [Line(text, (left, top + LINE * at, right, top + LINE * (at + 1))) for at, text in enumerate(texts)]


def text(*texts: str, top: float = 100.0) -> Block:
    return Block("text", lines(list(texts), top))


def short(*texts: str) -> Block:
    """Lines that end long before the column does, as those of a listing."""
    return Block("text", [*lines([""]), *(Line(line.text, (50, line.box[1], 200, line.box[3])) for line in lines(list(texts)))])


def heading(title: str, level: int = 1) -> Block:
    return Block("heading", lines([title], 60), level)


def table(*rows: str) -> Block:
    return Block("table", lines(list(rows)))


def page(*blocks: Block, number: int = 1) -> Page:
    return Page(number, 600, 800, list(blocks))


def chunks(*pages: Page, carry: Carry | None = None) -> list[Chunk]:
    return chunk_pages(pages, carry or Carry())[0]


def test_a_section_that_fits_is_one_chunk_under_its_headings() -> None:
    (chunk,) = chunks(page(heading("系统"), heading("磁盘", 2), text("磁盘的分区。")))
    assert chunk == Chunk(1, ["系统", "磁盘"], "磁盘的分区。", [(50, 100, 550, 112)], "zh")


def test_headings_close_those_of_their_level() -> None:
    made = chunks(page(heading("A"), heading("B", 2), text("one."), heading("C", 2), text("two."), heading("D"), text("three.")))
    assert [chunk.path for chunk in made] == [["A", "B"], ["A", "C"], ["D"]]


def test_no_chunk_crosses_a_heading_and_no_overlap_does() -> None:
    made = chunks(page(heading("A"), text("甲" * 50 + "。"), heading("B"), text("乙" * 50 + "。")))
    assert [set(chunk.text) for chunk in made] == [{"甲", "。"}, {"乙", "。"}]


def test_a_heading_with_nothing_under_it_is_found_by_its_title() -> None:
    made = chunks(page(heading("A"), heading("B"), text("body.")))
    assert [(chunk.path, chunk.text) for chunk in made] == [(["A"], "A"), (["B"], "body.")]


def test_long_text_is_cut_at_sentences_into_even_parts_that_overlap() -> None:
    made = chunks(page(*(text(*SENTENCES[at : at + 2], top=100 + 30 * at) for at in range(0, 60, 2))))
    assert len(made) > 3
    for before, after in itertools.pairwise(made):
        assert before.text.endswith("。")
        shared = after.text.split("\n")[0]
        assert shared in before.text[-2 * OVERLAP :]
        assert after.text.startswith("第")
    sizes = [len(chunk.text) for chunk in made]
    assert max(sizes) <= 1.3 * SIZE
    assert min(sizes) >= SIZE / 2, "no crumb is left at the end"


def test_wrapped_lines_are_joined_and_lines_of_a_listing_are_not() -> None:
    (chunk,) = chunks(page(text("这个系统的软", "件包管理用 apt", "and more words", "follow.")))
    assert chunk.text == "这个系统的软件包管理用 apt and more words follow."
    (chunk,) = chunks(page(text("x" * 10), short("$ cd /tmp", "$ ls")))
    assert chunk.text.endswith("$ cd /tmp\n$ ls")


def test_a_centred_caption_is_not_joined_with_what_follows() -> None:
    caption = Block("text", [Line("表 1：命令", (250, 300, 350, 312)), Line("正文在后", (50, 330, 200, 342))])
    (chunk,) = chunks(page(text("正文很长。"), caption))
    assert chunk.text == "正文很长。\n表 1：命令\n正文在后"


def test_list_items_stay_lines() -> None:
    (chunk,) = chunks(page(text("• first item that is long", "• second item")))
    assert chunk.text == "• first item that is long\n• second item"


def test_spaces_between_chinese_characters_go() -> None:
    (chunk,) = chunks(page(text("软 件 包 ， 用 apt 管 理")))
    assert chunk.text == "软件包，用 apt 管理"


def test_latin_words_are_not_cut() -> None:
    words = [f"word{n:04}" for n in range(300)]
    made = chunks(page(text(" ".join(words))))
    assert len(made) > 5
    assert {part for chunk in made for part in chunk.text.split()} == set(words)


def test_a_text_without_any_place_to_cut_stays_whole() -> None:
    (chunk,) = chunks(page(text("x" * 1000)))
    assert chunk.text == "x" * 1000


def test_every_part_of_a_table_has_the_header_and_whole_rows() -> None:
    rows = [f"| package{n} | 说明第{n}行的内容，比较长的一些文字 |" for n in range(40)]
    made = chunks(page(heading("表"), table("| 名称 | 说明 |", "|---|---|", *rows)))
    assert len(made) > 3
    for chunk in made:
        own = chunk.text.split("\n")
        assert own[:2] == ["| 名称 | 说明 |", "|---|---|"]
        assert set(own[2:]) <= set(rows)
    assert [row for chunk in made for row in chunk.text.split("\n")[2:]] == rows, "rows do not overlap"


def test_a_header_is_not_left_behind_by_its_rows() -> None:
    before = [text(*SENTENCES[:14])]
    rows = [f"| {n} | {'说明' * 20} |" for n in range(8)]
    made = chunks(page(*before, table("| a | b |", "|---|---|", *rows)))
    assert not any(chunk.text.rstrip().endswith("|---|---|") for chunk in made)


def test_a_table_without_rule_is_cut_between_rows() -> None:
    rows = [f"| {n} | {'说明' * 20} |" for n in range(20)]
    made = chunks(page(table(*rows)))
    assert [row for chunk in made for row in chunk.text.split("\n")] == rows


def test_the_next_page_begins_with_the_sections_tail_but_not_its_box() -> None:
    first, second = page(heading("A"), text("先检查系统的状态再")), page(text("继续操作。"), number=2)
    made = chunks(first, second)
    assert [(chunk.page, chunk.text) for chunk in made] == [(1, "先检查系统的状态再"), (2, "先检查系统的状态再继续操作。")]
    assert made[1].boxes == [(50, 100, 550, 112)]
    assert made[1].path == ["A"]


def test_a_heading_on_the_next_page_ends_the_tail() -> None:
    made = chunks(page(heading("A"), text("一些内容")), page(heading("B"), text("别的"), number=2))
    assert made[1].text == "别的"


def test_an_empty_page_changes_nothing() -> None:
    pages = [page(heading("A"), text("内容在前")), page(number=2), page(text("内容在后"), number=3)]
    assert [chunk.text for chunk in chunks(*pages)] == ["内容在前", "内容在前内容在后"]


def test_boxes_are_merged_within_a_block_and_column() -> None:
    left, right = lines(["甲甲", "乙乙"], 100, 50, 250), lines(["丙丙", "丁丁。"], 100, 300, 500)
    (chunk,) = chunks(page(Block("text", [*left, *right]), text("另一段。", top=300)))
    assert chunk.boxes == [(50, 100, 250, 124), (300, 100, 500, 124), (50, 300, 550, 312)]


def test_the_language_is_that_of_the_text() -> None:
    made = chunks(page(heading("命令"), text("$ ls -l"), heading("数"), text("1 2 3"), heading("C"), text("用 ls 命令")))
    assert [chunk.language for chunk in made] == ["en", "", "zh"]


def test_keyword_text_has_the_path_above() -> None:
    assert keyword_text(["系统", "磁盘"], "分区") == "系统 > 磁盘\n分区"
    assert keyword_text([], "分区") == "分区"


WORDS = st.sampled_from(
    ["apt-get", "安装软件包", "。", "， ", "a", "The end. ", "配置文件/etc/fstab", " ", "1.", "• ", "数据" * 15, "| x |"]
)
TEXT = st.lists(WORDS, max_size=12).map("".join)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    kind = draw(st.sampled_from(["text", "text", "heading", "table"]))
    rows = draw(st.lists(TEXT, min_size=1, max_size=8))
    if kind == "heading":
        return heading(rows[0], draw(st.integers(1, 3)))
    if kind == "table":
        return table("| a | b |", "|---|---|", *rows)
    return Block("text", lines(rows, draw(st.floats(50, 700)), right=draw(st.sampled_from([200.0, 550.0]))))


PAGES = st.lists(st.lists(blocks(), max_size=5), max_size=5).map(
    lambda found: [page(*content, number=number) for number, content in enumerate(found, 1)]
)


@given(PAGES)
@settings(max_examples=30, deadline=None)
def test_pages_one_by_one_make_the_same_chunks(pages: list[Page]) -> None:
    at_once, end = chunk_pages(pages, Carry())
    one_by_one: list[Chunk] = []
    carry = Carry()
    for single in pages:
        made, carry = chunk_pages([single], msgspec.json.decode(msgspec.json.encode(carry), type=Carry))
        one_by_one.extend(made)
    assert (one_by_one, carry) == (at_once, end)


@given(PAGES)
@settings(max_examples=30, deadline=None)
def test_no_text_is_lost_and_chunks_keep_their_bounds(pages: list[Page]) -> None:
    made, carry = chunk_pages(pages, Carry([Heading(1, "外")], "尾"))
    given = Counter("".join(line.text for single in pages for block in single.blocks if block.kind != "heading" for line in block.lines))
    written = Counter("".join(chunk.text for chunk in made))
    assert all(written[char] >= count for char, count in given.items() if not char.isspace())
    assert len(carry.tail) <= OVERLAP
    for chunk in made:
        assert chunk.text.strip() == chunk.text != ""
        assert chunk.boxes
        assert 1 <= chunk.page <= len(pages)
