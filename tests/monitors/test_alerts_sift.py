from typing import Any

import msgspec
import pytest
from support.alert_kit import SECRET

from monitors.alerts.channels import channel_name
from monitors.alerts.config import ChannelConfig
from monitors.alerts.outbox import heads
from monitors.alerts.payload import DIGEST, DIGEST_ALERTS, MAX_BYTES, alerts_in, webhook_body
from monitors.alerts.sift import Quiet, is_held, sift
from monitors.alerts.silences import check_silence, ended, matches, silence_of
from monitors.errors import SilenceRefused
from storage.monitor_records import Silence
from storage.records import Alert, Delivery

S = 1_000_000
NOW = 1_790_000_000 * S
CHANNEL = ChannelConfig.model_validate(
    {"webhook": {"url": "https://h/", "secret": SECRET}, "group_wait": "10s"}
)
NAME = channel_name(CHANNEL)


def alert(id_: str = "a", **more: Any) -> Alert:
    """Return an open alert of drift."""
    made = Alert(id_, "drift", "chat", "drift", "open", "warning", 0, 0, None, f"{id_} drifted", {})
    return msgspec.structs.replace(made, **more)


def waiting(id_: str, about: str = "a", word: str = "opened", **more: Any) -> Delivery:
    """Return a notification that was queued now and is due in ten seconds."""
    event = f"drift.{word}"
    body = webhook_body(event, alert(about, **more.pop("alert", {})), NOW)
    made = Delivery(id_, about, event, NAME, body, "pending", NOW, NOW + 10 * S)
    return msgspec.structs.replace(made, **more)


def silence(until_s: int = 60, **matchers: str) -> Silence:
    """Return a silence from now on."""
    return Silence("s", NOW, NOW, NOW + until_s * S, "ann", "", {"route": "*", **matchers})


def sifted(
    pending: list[Delivery], *, at_s: float = 10, quiet: Quiet | None = None, since: int = 0
) -> dict[str, Delivery]:
    """Return what changes some seconds from now, by id."""
    at_us = NOW + round(at_s * S)
    changed = sift(pending, quiet or Quiet(), {NAME: CHANNEL}, at_us, since)
    return {d.id: d for d in changed}


def quiet(*alerts: Alert, until_s: int = 60) -> Quiet:
    """Return a silence of all, and what is open."""
    return Quiet([silence(until_s)], {a.id: a for a in alerts})


def test_what_comes_together_is_one_message() -> None:
    """The oldest carries all under its id, the others say where they went."""
    found = sifted([waiting("1"), waiting("2", "b"), waiting("3", "c", next_at=NOW + 15 * S)])
    assert found["1"].event == DIGEST
    assert alerts_in(found["1"].event, found["1"].body) == ("a", "b", "c")
    assert {found[n].state for n in "23"} == {"withheld"}
    assert found["2"].last_error == "told in one message with others, 1"
    body = msgspec.json.decode(found["1"].body)
    assert (body["type"], body["data"]["version"], body["data"]["summary"]) == (
        "alerts.digest",
        1,
        "3 alerts",
    )
    assert body["data"]["alerts"][1]["type"] == "drift.opened"


def test_one_alone_stays_itself_and_nothing_is_grouped_early() -> None:
    """Until the first is due, others may come."""
    assert sifted([waiting("1")]) == {}
    assert sifted([waiting("1"), waiting("2", "b")], at_s=9.9) == {}


@pytest.mark.parametrize(
    "sent",
    [
        waiting("2", "b", tries=1),
        waiting("2", "b", created_at=NOW - S),
        waiting("2", "b", next_at=NOW),
    ],
)
def test_what_may_have_been_sent_keeps_its_id(sent: Delivery) -> None:
    """Tried, queued before this process began, or replayed: it never becomes part of another."""
    assert sifted([waiting("1"), sent], since=NOW) == {}


def test_a_digest_fits_whatever_the_summaries() -> None:
    """Forty alerts with long texts are two messages of less than 20 KB."""
    text = {"summary": "漂移" * 500}
    found = sifted([waiting(f"{n:02}", f"a{n}", alert=text) for n in range(2 * DIGEST_ALERTS)])
    digests = [d for d in found.values() if d.state == "pending"]
    assert [len(alerts_in(d.event, d.body)) for d in digests] == [DIGEST_ALERTS] * 2
    assert all(len(d.body) < MAX_BYTES for d in digests)


def test_an_end_waits_for_the_digest_that_told_of_the_opening() -> None:
    """Order is kept per alert; alerts that are not in it go on."""
    digest = sifted([waiting("1"), waiting("2", "b")])["1"]
    end, other = waiting("3", "b", "resolved"), waiting("4", "z")
    assert [d.id for d in heads([digest, end, other])] == ["1", "4"]
    assert [d.id for d in heads([end])] == ["3"]


def test_an_end_that_nobody_knows_of_is_taken_back() -> None:
    """The episode went on: neither its end nor its new beginning is told."""
    found = sifted([waiting("1", word="resolved"), waiting("2")])
    assert {d.state for d in found.values()} == {"withheld"}
    assert len(found) == 2


def test_that_it_came_back_worse_is_told() -> None:
    """Only the end is taken back."""
    found = sifted([waiting("1", word="resolved"), waiting("2", word="escalated")])
    assert [d.id for d in found.values()] == ["1"]


def test_an_end_that_was_tried_stands() -> None:
    """The receiver may have it."""
    assert sifted([waiting("1", word="resolved", tries=1), waiting("2")], at_s=0) == {}


def test_a_silenced_notification_waits_for_the_end() -> None:
    """It says by which silence, and is written once."""
    held = sifted([waiting("1")], quiet=quiet(alert()))["1"]
    assert is_held(held)
    assert held.next_at == NOW + 60 * S
    assert (held.last_error or "").endswith(" by s")
    assert sifted([held], quiet=quiet(alert())) == {}
    longer = sifted([held], quiet=quiet(alert(), until_s=90))["1"]
    assert longer.next_at == NOW + 90 * S


def test_what_is_still_open_is_sent_when_the_silence_ends() -> None:
    """At once, with 24 hours for its tries."""
    held = sifted([waiting("1")], quiet=quiet(alert()))["1"]
    sent = sifted([held], at_s=61, quiet=Quiet((), {"a": alert()}))["1"]
    assert (sent.created_at, sent.next_at, sent.last_error) == (NOW + 61 * S,) * 2 + (None,)


def test_what_came_and_went_under_a_silence_is_never_told() -> None:
    """Neither the opening nor the end."""
    held = sifted([waiting("1")], quiet=quiet(alert()))["1"]
    found = sifted([held, waiting("2", word="resolved")], at_s=20, quiet=quiet())
    assert {d.state for d in found.values()} == {"withheld"}
    assert "ended while it was silenced" in (found["2"].last_error or "")


@pytest.mark.parametrize(
    ("min_severity", "ends"), [("warning", "pending"), ("critical", "withheld")]
)
def test_the_end_of_what_got_worse_under_a_silence_is_told(min_severity: str, ends: str) -> None:
    """The opening was told before; a channel of critical alerts never heard of it."""
    channel = CHANNEL.model_copy(update={"min_severity": min_severity})
    worse, end = waiting("1", word="escalated"), waiting("2", word="resolved")
    (held,) = sift([worse], quiet(alert()), {NAME: channel}, NOW)
    found = sift([held, end], quiet(), {NAME: channel}, NOW + 20 * S)
    state = {d.id: d.state for d in (end, *found)}
    assert state == {"1": "withheld", "2": ends}


def test_what_was_queued_before_the_clock_was_set_back_does_not_wait_for_it() -> None:
    """Its tries begin anew; a second is no step."""
    ahead: dict[str, Any] = {"created_at": NOW + 86_400 * S, "next_at": NOW + 86_410 * S}
    found = sifted([waiting("1", **ahead), waiting("2", "b", created_at=NOW + S)], at_s=0)
    assert list(found) == ["1"]
    assert (found["1"].created_at, found["1"].next_at) == (NOW, NOW + 10 * S)


def test_the_end_of_what_was_told_goes_out_under_a_silence() -> None:
    """An incident that somebody works on is closed."""
    assert sifted([waiting("1", word="resolved")], quiet=quiet(alert())) == {}


def test_a_worse_alert_leaves_a_silence_of_warnings() -> None:
    """What was held goes out with the escalation."""
    held = sifted([waiting("1")], quiet=quiet(alert()))["1"]
    warnings = Quiet([silence(severity="warning")], {"a": alert(severity="critical")})
    found = sifted([held, waiting("2", word="escalated")], at_s=5, quiet=warnings)
    assert list(found) == ["1"]
    assert not is_held(found["1"])


@pytest.mark.parametrize(
    ("matchers", "fits"),
    [
        ({"route": "chat"}, True),
        ({"route": "ch?t", "kind": "dr*"}, True),
        ({"route": "chat", "severity": "critical"}, False),
        ({"feature": "prompt_*"}, False),
        ({"feature": "*"}, True),
        ({"feature": "*", "segment": "variant=b"}, False),
        ({"segment": "variant=*"}, False),
    ],
)
def test_all_patterns_must_fit(matchers: dict[str, Any], *, fits: bool) -> None:
    """And those of features, every feature of the alert."""
    features = [
        {"feature": "prompt_chars", "segment": "variant=b"},
        {"feature": "latency_s", "segment": ""},
    ]
    found = alert(data={"features": features, "features_drifted": 2})
    assert matches(silence(**matchers), found) is fits


def test_an_alert_about_several_routes_needs_all_of_them_silenced() -> None:
    """A shock that also hits another route is told."""
    shock = alert(route="*", data={"routes": ["chat", "chat-2"]})
    assert matches(silence(route="chat*"), shock)
    assert matches(silence(route="*"), shock)
    assert not matches(silence(route="chat"), shock)


def test_an_alert_about_more_than_it_shows_is_not_silenced_by_feature() -> None:
    """Of six features the digest names five."""
    data: dict[str, object] = {"features": [{"feature": "x"}], "features_drifted": 6}
    assert not matches(silence(feature="*"), alert(data=data))
    assert matches(silence(route="*"), alert(data=data))


def test_segments_of_one_feature_are_one_feature() -> None:
    """Two streams are silenced by their feature; of a full digest the segments are not known."""
    features = [{"route": "chat", "feature": "x", "segment": f"variant={n}"} for n in range(5)]
    few: dict[str, object] = {"features": features[:2], "features_drifted": 1}
    full: dict[str, object] = {"features": features, "features_drifted": 1}
    assert matches(silence(feature="x", segment="variant=*"), alert(data=few))
    assert matches(silence(feature="x"), alert(data=full))
    assert not matches(silence(segment="variant=*"), alert(data=full))


def test_the_last_silence_to_end_counts() -> None:
    """Before its start and from its end on, none does."""
    silences = [silence(60), msgspec.structs.replace(silence(90), id="longer")]
    found = silence_of(alert(), silences, NOW)
    assert found is not None
    assert found.id == "longer"
    assert silence_of(alert(), silences, NOW - 1) is None
    assert silence_of(alert(), silences, NOW + 90 * S) is None


def test_a_silence_that_has_not_begun_can_be_ended() -> None:
    """It then holds no time."""
    over = ended(msgspec.structs.replace(silence(), starts_at=NOW + 30 * S), NOW)
    assert (over.starts_at, over.ends_at) == (NOW, NOW)
    assert ended(over, NOW + S) == over


@pytest.mark.parametrize(
    "changed",
    [
        {"matchers": {}},
        {"matchers": {"color": "red"}},
        {"matchers": {"route": ""}},
        {"matchers": {"kind": "dirft"}},
        {"matchers": {"kind": "slo", "severity": "crit"}},
        {"ends_at": NOW},
        {"ends_at": NOW + 401 * 86_400 * S},
        {"comment": "x" * 501},
    ],
)
def test_what_is_no_silence_is_refused(changed: dict[str, Any]) -> None:
    """Before it is written."""
    with pytest.raises(SilenceRefused):
        check_silence(msgspec.structs.replace(silence(), **changed))
