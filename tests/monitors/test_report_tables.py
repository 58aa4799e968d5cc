from monitors.report.tables import Cell, Column, table_lines

COLUMNS = (Column("route", left=True), Column("error share"), Column("summary", sentence=True))


def lines(*rows: tuple[str, str, str], width: int = 60, colour: bool = False) -> list[str]:
    """Return a table of three columns."""
    cells = [[Cell(text, "red" if text == "drift" else "") for text in row] for row in rows]
    return list(table_lines("T", COLUMNS, cells, width=width, colour=colour))


def test_numbers_stand_to_the_right_under_folded_headings() -> None:
    """Headings take as many lines as their words need."""
    _, _, first, second, rule, row = lines(("chat", "1.5%", "fine"))
    assert first.rstrip() == "        error"
    assert second.split() == ["route", "share", "summary"]
    assert set(rule.strip()) == {"\N{BOX DRAWINGS LIGHT HORIZONTAL}"}
    assert row.startswith(" chat    1.5%  ")


def test_sentences_are_folded_and_nothing_is_lost() -> None:
    """However narrow the terminal is."""
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    found = lines(("chat", "1", " ".join(words)), width=30)
    assert len(found) > 6
    assert [w for line in found[5:] for w in line.split()] == ["chat", "1", *words]


def test_wide_signs_take_two_columns() -> None:
    """Columns stay under each other."""
    *_, wide, plain = lines(("\u65e5\u672c", "1", "x"), ("abcd", "1", "x"))
    assert wide.index("1") + 2 == plain.index("1")


def test_colour_is_for_words_alone() -> None:
    """Escapes change no width."""
    *_, painted = lines(("drift", "1", "x"), colour=True)
    *_, plain = lines(("drift", "1", "x"))
    assert painted.replace("\x1b[31m", "").replace("\x1b[0m", "") == plain
