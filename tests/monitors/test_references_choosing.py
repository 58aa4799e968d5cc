from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support.empty_log import open_empty_log
from support.reference_log import DAY_US, HOUR_US, MONDAY, Rows, spread

from monitors.baselines import label
from monitors.config import MonitorsConfig
from monitors.errors import NoBaseline
from monitors.references.choosing import ROLLING_KEPT, SETTLE_US, awaited, ensure, whole
from monitors.references.making import Period, make
from monitors.schedule import MonitorRun
from monitors.windows import Window
from storage.records import Baseline
from storage.repository import Repository

THREE_DAYS = MONDAY + 3 * DAY_US


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """Return an empty log."""
    database = open_empty_log(tmp_path, now_us=lambda: MONDAY)
    yield Repository(database)
    database.close()


def chosen(
    repository: Repository, now_us: int, baseline: Any = "default", *, calm: bool = True
) -> Baseline:
    """Return the baseline of `chat` under `monitors.baseline`."""
    config = MonitorsConfig.model_validate({} if baseline == "default" else {"baseline": baseline})
    return whole(repository, ensure(repository, config, "chat", now_us, calm=calm))


def waiting(repository: Repository, now_us: int, baseline: Any = "default") -> str:
    """Return why there is no baseline yet."""
    with pytest.raises(NoBaseline) as raised:
        chosen(repository, now_us, baseline)
    return str(raised.value)


def fill(repository: Repository, from_us: int, to_us: int, rows: int, **facts: Any) -> None:
    """Write rows, evenly spread."""
    Rows(repository).write({"started_at": at, **facts} for at in spread(rows, from_us, to_us))


def by_hand(repository: Repository, now_us: int, name: str = "mine") -> Baseline:
    """Set a baseline as `monitor baseline set` does."""
    period = Period(name, "chat", Window(MONDAY, now_us), {"kind": "period"})
    return make(repository, MonitorsConfig(), period, now_us)


def test_the_first_days_become_the_baseline_after_saying_so(repository: Repository) -> None:
    """Until then the time of it is told, and how to set one now; then it is made once."""
    assert "no rows yet; its first 3 days" in waiting(repository, MONDAY)
    fill(repository, MONDAY, THREE_DAYS + DAY_US, 1600)
    told = waiting(repository, MONDAY + HOUR_US)
    assert "the first 3 days become its baseline at 2026-11-05T00:01:00Z" in told
    assert "`monitor baseline set` sets one now" in told
    made = chosen(repository, THREE_DAYS + SETTLE_US)
    assert (label(made), made.rows) == ("automatic@1", 1200)
    assert made.source == {"kind": "automatic", "after_s": 259_200.0, "rows": 1000}
    assert (made.window_from, made.window_to) == (MONDAY, THREE_DAYS)
    assert chosen(repository, THREE_DAYS + DAY_US) == made


def test_the_first_days_wait_for_enough_rows(repository: Repository) -> None:
    """A quiet route takes longer: all rows until there are as many."""
    fill(repository, MONDAY, THREE_DAYS, 90)
    rows = {"automatic": {"after": "2d", "rows": 100}}
    assert "the first 100 rows become its baseline, 90 are there" in waiting(
        repository, THREE_DAYS + SETTLE_US, rows
    )
    fill(repository, THREE_DAYS, THREE_DAYS + HOUR_US, 20)
    made = chosen(repository, THREE_DAYS + HOUR_US, rows)
    assert (made.rows, made.window_to) == (110, THREE_DAYS + HOUR_US)


def test_an_old_log_takes_its_newest_days(repository: Repository) -> None:
    """What was months ago is no reference for today."""
    fill(repository, MONDAY, MONDAY + 10 * DAY_US, 1000)
    now = MONDAY + 10 * DAY_US
    made = chosen(repository, now, {"automatic": {"rows": 100}})
    assert (made.window_from, made.window_to) == (now - 3 * DAY_US, now)


def test_null_leaves_it_to_people(repository: Repository) -> None:
    """Nothing becomes a baseline by itself then."""
    fill(repository, MONDAY, THREE_DAYS, 1200)
    assert "has no baseline; set one" in waiting(repository, THREE_DAYS + DAY_US, None)
    mine = by_hand(repository, THREE_DAYS)
    assert chosen(repository, THREE_DAYS + DAY_US + 1, None) == mine


def test_one_set_by_hand_spares_the_first_days(repository: Repository) -> None:
    """Whoever sets one after an hour is compared from then on."""
    fill(repository, MONDAY, MONDAY + HOUR_US, 60)
    mine = by_hand(repository, MONDAY + HOUR_US)
    assert chosen(repository, MONDAY + 2 * HOUR_US) == mine
    assert chosen(repository, MONDAY + 9 * DAY_US) == mine


def test_the_days_before_move_once_a_day(repository: Repository) -> None:
    """A version for each midnight, over the period before it; old versions go."""
    days = ROLLING_KEPT + 3
    fill(repository, MONDAY, MONDAY + days * DAY_US, 60 * days)
    rolling = {"previous": "2d"}
    versions = []
    for day in range(2, days):
        for hour in (1, 23):
            now = MONDAY + day * DAY_US + hour * HOUR_US
            found = chosen(repository, now, rolling)
            versions.append(found.version)
            assert found.window_to == MONDAY + day * DAY_US
            assert found.window_to - found.window_from == 2 * DAY_US
    assert versions == [version for version in range(1, days - 1) for _ in range(2)]
    kept = repository.load_baselines("chat")
    assert [b.version for b in kept] == list(range(2, 2 + ROLLING_KEPT))
    assert kept[-1].source == {"kind": "previous", "length_s": 172_800.0}


def test_what_drifts_does_not_become_the_norm(repository: Repository) -> None:
    """While an episode is open, and after a day too quiet, the version before holds."""
    fill(repository, MONDAY, MONDAY + 3 * DAY_US, 300)
    rolling = {"previous": "1d"}
    first = chosen(repository, MONDAY + DAY_US + HOUR_US, rolling)
    assert chosen(repository, MONDAY + 2 * DAY_US + HOUR_US, rolling, calm=False) == first
    second = chosen(repository, MONDAY + 2 * DAY_US + 2 * HOUR_US, rolling)
    assert (second.version, second.rows) == (2, 100)
    assert chosen(repository, MONDAY + 5 * DAY_US, rolling) == second


@pytest.mark.parametrize(
    "periods",
    [
        [{"previous": "2d"}, {"previous": "1d"}],
        [
            {"from": "2026-11-02T00:00:00Z", "to": "2026-11-03T00:00:00Z"},
            {"from": "2026-11-03T00:00:00Z", "to": "2026-11-04T00:00:00Z"},
        ],
        [
            {"from": "2026-11-02T00:00:00Z", "to": "2026-11-03T00:00:00Z"},
            {"from": "2026-11-02T00:00:00Z", "to": "2026-11-03T00:00:00Z", "variant": "primary"},
        ],
    ],
)
def test_a_setting_that_comes_back_holds_again(
    repository: Repository, periods: list[dict[str, str]]
) -> None:
    """A baseline of it is there already, but not the newest; one set by hand later still holds."""
    fill(repository, MONDAY, THREE_DAYS, 300)
    now = THREE_DAYS + HOUR_US
    spans = []
    for step, period in enumerate((*periods, periods[0], periods[0])):
        found = chosen(repository, now + step, period)
        spans.append((found.version, found.window_from, found.window_to, found.source))
    assert spans[0][1:] == spans[2][1:] != spans[1][1:]
    assert spans[2] == spans[3]
    mine = by_hand(repository, now + 9)
    assert chosen(repository, now + 10, periods[0]) == mine


def test_before_the_first_midnight_it_is_told(repository: Repository) -> None:
    """The reason, and when it is tried again."""
    fill(repository, MONDAY + HOUR_US, MONDAY + 2 * HOUR_US, 100)
    told = waiting(repository, MONDAY + 3 * HOUR_US, {"previous": "7d"})
    assert "0 rows in the period" in told
    assert "tried again after 2026-11-03T00:00:00Z" in told


def test_one_set_by_hand_holds_against_the_days_before(repository: Repository) -> None:
    """The last act wins; dropping it brings the rolling one back."""
    fill(repository, MONDAY, MONDAY + 4 * DAY_US, 400)
    rolling = {"previous": "1d"}
    chosen(repository, MONDAY + DAY_US + HOUR_US, rolling)
    mine = by_hand(repository, MONDAY + DAY_US + 2 * HOUR_US)
    assert chosen(repository, MONDAY + 2 * DAY_US + HOUR_US, rolling) == mine
    repository.drop_baseline("chat", "mine")
    assert label(chosen(repository, MONDAY + 3 * DAY_US + HOUR_US, rolling)) == "previous@2"


def test_numbers_are_never_shared(repository: Repository) -> None:
    """Versions of one name count up, also after the newest was replaced by another name."""
    fill(repository, MONDAY, MONDAY + DAY_US, 100)
    found = [by_hand(repository, MONDAY + DAY_US + i, name) for i, name in enumerate("aba")]
    assert [label(one) for one in found] == ["a@1", "b@1", "a@2"]


@pytest.mark.parametrize(
    ("baseline", "said"),
    [
        ({"from": "2026-11-01"}, "belong together"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "must lie before"),
        ({"from": "2026-11-01", "to": "2026-11-08", "previous": "7d"}, "exclude each other"),
        ({"from": "2026-11-01", "to": "2026-11-08", "seasonal": True}, "14d or longer"),
        ({"previous": "7d", "seasonal": True}, "14d or longer"),
        ({"previous": "2h"}, "a day or longer"),
        ({"automatic": {"rows": 1}}, "greater than or equal to 10"),
    ],
)
def test_configurations_that_say_nothing_are_refused(baseline: dict[str, Any], said: str) -> None:
    """Each with its reason."""
    with pytest.raises(ValidationError, match=said):
        MonitorsConfig.model_validate({"baseline": baseline})


@pytest.mark.parametrize("key", ["users", "tag:", "tag:a b", ""])
def test_dependence_keys_are_checked(key: str) -> None:
    """`user`, `tenant` or `tag:NAME`."""
    with pytest.raises(ValidationError):
        MonitorsConfig.model_validate({"dependence": {"key": key}})


def test_a_report_can_tell_what_the_server_waits_for(repository: Repository) -> None:
    """The same words without making anything; nothing where nobody promised it."""
    fill(repository, MONDAY, MONDAY + HOUR_US, 60)
    now = MONDAY + 2 * HOUR_US
    config = MonitorsConfig()
    with repository.snapshot() as log:
        assert awaited(log, config, "chat", now) == waiting(repository, now)
        assert "as soon as the server looks" in str(
            awaited(log, MonitorsConfig.model_validate(SOON), "chat", now + DAY_US)
        )
        for baseline in (None, {"previous": "1d"}):
            other = MonitorsConfig.model_validate({"baseline": baseline})
            assert awaited(log, other, "chat", now) is None


def test_what_is_awaited_is_logged_once(
    repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    """At the first look, and again when the words change, not every five minutes."""
    fill(repository, MONDAY, THREE_DAYS, 1200)
    monitor = MonitorRun(repository, MonitorsConfig(), ["chat"], lambda _: None)
    for look in range(3):
        assert monitor.run_once(MONDAY + HOUR_US + look) == []
    assert len(caplog.messages) == 1
    assert "become its baseline at" in caplog.messages[0]
    monitor.run_once(THREE_DAYS + SETTLE_US)
    assert "automatic@1 is its baseline now" in caplog.messages[1]


SOON = {"baseline": {"automatic": {"after": "1h", "rows": 50}}}
