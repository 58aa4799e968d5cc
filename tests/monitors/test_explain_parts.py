import numpy as np
import pytest

from monitors.explain.bars import histogram_lines
from monitors.explain.decompose import carriers, split
from monitors.explain.movers import movers
from monitors.explain.onset import change_point
from monitors.report.parts import Bin
from stats.arrays import CountArray
from stats.categories import CategoryCells

CELLS = CategoryCells(("a", "b"))
"""a, b, other, new, missing."""


def counts(*rows: int) -> CountArray:
    """Return counts over the cells."""
    return np.array([*rows, *(0 for _ in range(5 - len(rows)))], dtype=np.int64)


def test_parts_add_up_to_the_change() -> None:
    """Hand-computed: 0.1 (0.6 - 0.2) within the small one and nothing else; halves of both ways."""
    before = {"stable": counts(800, 100), "candidate": counts(80, 20)}
    now = {"stable": counts(800, 100), "candidate": counts(40, 60)}
    found = split("variant", before, now)
    assert found is not None
    assert found.total == pytest.approx(0.04)
    assert found.within == pytest.approx(0.04)
    assert found.mix == pytest.approx(0.0)
    assert found.parts[0].value == "candidate"
    assert found.parts[0].within == pytest.approx(0.04)
    assert found.parts[0].moved == pytest.approx(0.4)
    assert found.parts[0].interval.low > 0.0
    (carrier,) = carriers({"variant": found})
    assert (carrier.kind, carrier.value) == ("within", "candidate")
    assert carrier.share == pytest.approx(1.0)
    assert carrier.weight == pytest.approx(0.1)


def test_another_mix_of_unchanged_segments_is_mix() -> None:
    """From 1 : 9 to 5 : 5 of two laws: nothing within, and the one that grew is named."""
    before = {"en": counts(810, 90), "de": counts(20, 80)}
    now = {"en": counts(450, 50), "de": counts(100, 400)}
    found = split("language", before, now)
    assert found is not None
    assert found.within == pytest.approx(0.0)
    assert found.mix == pytest.approx(found.total)
    assert found.total == pytest.approx(0.28)
    assert sum(part.mix for part in found.parts) == pytest.approx(found.mix)
    (carrier,) = carriers({"language": found})
    assert (carrier.kind, carrier.key, carrier.value) == ("mix", "language", "de")


def test_a_change_that_all_segments_share_is_carried_by_none() -> None:
    """Each adds as much as its share of the rows."""
    before = {"big": counts(810, 90), "small": counts(90, 10)}
    now = {"big": counts(450, 450), "small": counts(50, 50)}
    found = split("variant", before, now)
    assert found is not None
    assert found.within == pytest.approx(found.total)
    assert carriers({"variant": found}) == []


def test_a_new_segment_is_mix_and_parts_still_add_up() -> None:
    """It has no law of its own before that could have changed."""
    before = {"v1": counts(900, 100)}
    now = {"v1": counts(450, 50), "v2": counts(0, 500)}
    found = split("version", before, now)
    assert found is not None
    assert found.within == pytest.approx(0.0)
    assert found.within + found.mix == pytest.approx(found.total)


def test_where_all_are_compared_with_one_nothing_is_mix() -> None:
    """A baseline of `stable` alone says nothing of how much traffic canary had."""
    law = counts(900, 100)
    now = {"stable": counts(810, 90), "canary": counts(50, 50)}
    found = split("variant", dict.fromkeys(now, law), now, weighed=False)
    assert found is not None
    assert found.mix == pytest.approx(0.0)
    assert found.within == pytest.approx(found.total)
    assert found.total == pytest.approx(0.04)
    assert [part.value for part in found.parts] == ["canary", "stable"]
    assert found.parts[0].weight_reference == found.parts[0].weight == pytest.approx(0.1)


def test_random_parts_add_up() -> None:
    """Whatever the counts: within and mix of all parts are the total variation."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        before, now = (
            {str(k): rng.integers(0, 40, 5) for k in range(rng.integers(1, 26))} for _ in range(2)
        )
        found = split("tenant", before, now)
        assert found is not None
        assert found.within + found.mix == pytest.approx(found.total)
        assert len(found.parts) <= 21


@pytest.mark.parametrize("seed", range(5))
def test_the_onset_is_found_within_a_slot(seed: int) -> None:
    """Twenty rows a slot, from 10 to 35 % of them: the range holds the truth."""
    rng = np.random.default_rng(seed)
    truth = 40
    slots = np.zeros((60, 5), dtype=np.int64)
    for place in range(60):
        share = 0.35 if place >= truth else 0.1
        slots[place, :2] = rng.multinomial(60, [1 - share, share])
    found = change_point(counts(4_500, 500), slots)
    assert found is not None
    assert abs(found.slot - truth) <= 1
    assert found.first <= truth <= found.last


def test_without_a_change_no_onset_is_made_up() -> None:
    """The likelihood's best moment of noise does not pay for its parameters."""
    rng = np.random.default_rng(1)
    found = [
        change_point(counts(4_500, 500), np.hstack((rows, np.zeros((288, 3), dtype=np.int64))))
        for rows in (rng.multinomial(20, [0.9, 0.1], 288) for _ in range(50))
    ]
    assert sum(one is not None for one in found) <= 1


def test_a_change_before_the_first_slot_is_said_so() -> None:
    """All slots agree with each other, and with the reference none."""
    slots = np.tile(counts(50, 50), (20, 1))
    found = change_point(counts(4_500, 500), slots)
    assert found is not None
    assert found.slot == 0


def test_slots_without_rows_widen_the_range() -> None:
    """Of a gap in the traffic nobody knows in which minute the change fell."""
    slots = np.tile(counts(90, 10), (20, 1))
    slots[8:12] = 0
    slots[12:] = counts(10, 90)
    found = change_point(counts(9_000, 1_000), slots)
    assert found is not None
    assert (found.slot, found.first, found.last) == (12, 8, 12)


def test_movers_have_shares_and_intervals() -> None:
    """The new category makes most of the PSI; its interval lies above zero; dependence widens."""
    before, now = counts(900, 100), counts(700, 100, 0, 200)
    first, *_ = movers(CELLS, before, now)
    assert (first.cell, first.reference, first.current) == ("new", 0.0, 0.2)
    assert 0.17 < first.change_low < 0.2 < first.change_high < 0.23
    wider, *_ = movers(CELLS, before, now, dispersion=4.0)
    assert wider.change_low < first.change_low
    assert wider.change == first.change


def test_bars_fit_the_terminal_and_fall_back_to_ascii() -> None:
    """Both windows in the same scale; a share that is not zero has a mark; no escapes in names."""
    bins = [Bin("a\x1b[2J" + "x" * 60, 90, 10), Bin("b", 10, 89), Bin("c", 0, 1)]
    drawn = [*histogram_lines(bins, width=60, colour=False, unicode=True)]
    assert len(drawn) == 6
    assert max(map(len, drawn)) <= 60
    assert drawn[0].count("█") > 5 * drawn[1].count("█") > 0
    assert drawn[5][-1] in "▏▎▍▌▋▊▉█"
    plain = [*histogram_lines(bins, width=60, colour=False, unicode=False)]
    assert "".join(plain).replace("\N{REPLACEMENT CHARACTER}", "").isascii()
    assert "\x1b" not in "".join(drawn + plain)
    assert "\x1b[3" in "".join(histogram_lines(bins, width=60, colour=True, unicode=True))
