import asyncio
import json
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from support.alert_kit import HOUR_S, OTHER_SECRET, SECRET, MovingClock, Outbox, change, webhook
from support.empty_log import open_empty_log
from support.webhook_receiver import Receiver, Reply, receiving, wait_until

from gateway.delivery import DeliveryLoop
from gateway.gone_channels import gone_since
from monitors.alerts.config import ChannelConfig
from monitors.alerts.outbox import SCHEDULE_S
from storage.database import Database
from storage.errors import DatabaseFailed
from storage.records import Delivery
from storage.repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """Return a repository over an empty database."""
    database = open_empty_log(tmp_path)
    yield Repository(database)
    database.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a receiver on this machine."""
    with receiving() as found:
        yield found


def only(repository: Repository, delivery: Delivery) -> Delivery:
    """Return a notification as the database holds it now."""
    found = repository.load_delivery(delivery.id)
    assert found is not None
    return found


def test_a_notification_arrives_signed(repository: Repository, receiver: Receiver) -> None:
    """The library of Standard Webhooks verifies it, and refuses another body or secret."""
    outbox = Outbox(repository, [webhook(receiver.url)])
    (waiting,) = outbox.raise_(change("opened"))
    assert outbox.turn() == 1
    (request,) = receiver.received
    body = Webhook(SECRET).verify(request.body, request.headers)
    assert body["type"] == "drift.opened"
    assert body["data"]["alert_id"] == waiting.alert_id
    assert request.headers["webhook-id"] == waiting.id
    assert request.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.body + b" ", request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER_SECRET).verify(request.body, request.headers)
    after = only(repository, waiting)
    assert (after.state, after.tries, after.last_status) == ("delivered", 1, 200)
    assert outbox.turn() == 0


def test_a_secret_is_rotated_without_a_gap(repository: Repository, receiver: Receiver) -> None:
    """While two secrets are named, receivers that know either accept."""
    outbox = Outbox(repository, [webhook(receiver.url, secret=f"{OTHER_SECRET}, {SECRET}")])
    outbox.raise_(change("opened"))
    outbox.turn()
    (request,) = receiver.received
    assert Webhook(SECRET).verify(request.body, request.headers)
    assert Webhook(OTHER_SECRET).verify(request.body, request.headers)


def test_a_secret_file_is_read_at_each_try(
    repository: Repository, receiver: Receiver, tmp_path: Path
) -> None:
    """A file that comes, or changes, between tries needs no restart."""
    file = tmp_path / "secret"
    outbox = Outbox(repository, [webhook(receiver.url, secret=None, secret_file=str(file))])
    (waiting,) = outbox.raise_(change("opened"))
    outbox.turn()
    assert "FileNotFoundError" in (only(repository, waiting).last_error or "")
    file.write_text(SECRET + "\n")
    outbox.after(10)
    (request,) = receiver.received
    # The clock has moved, so the age is not checked here.
    at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
    signed = Webhook(SECRET).sign(waiting.id, at, request.body.decode())
    assert request.headers["webhook-signature"] == signed


def test_a_receiver_that_fails_is_tried_for_a_day(
    repository: Repository, receiver: Receiver
) -> None:
    """Ten tries at the times of the table, never early, one id; then it is dead, not forgotten."""
    receiver.always = Reply(500, body=b"broken")
    outbox = Outbox(repository, [webhook(receiver.url)])
    (waiting,) = outbox.raise_(change("opened"))
    tried_s = []
    while (now := only(repository, waiting)).state == "pending":
        outbox.clock.now_s += (now.next_at - outbox.clock.now_us()) / 1e6
        assert outbox.turn() == 1
        tried_s.append(outbox.clock.now_s)
        assert outbox.turn() == 0
    assert len(tried_s) == len(SCHEDULE_S)
    assert all(at >= planned for at, planned in zip(tried_s, SCHEDULE_S, strict=True))
    assert 24 * HOUR_S <= tried_s[-1] <= 24.5 * HOUR_S
    assert tried_s[2] != SCHEDULE_S[2]
    assert set(receiver.ids) == {waiting.id}
    assert len(receiver.ids) == 10
    assert (now.state, now.last_status, now.last_error) == ("dead", 500, "answered 500: broken")
    assert [d.id for d in repository.dead_deliveries()] == [waiting.id]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(repository: Repository, receiver: Receiver, form: str) -> None:
    """Nothing is sent before the time that the receiver named, of no alert."""
    outbox = Outbox(repository, [webhook(receiver.url)])
    at = datetime.fromtimestamp(outbox.clock.now_us() // 1_000_000 + 120, UTC)
    asked = "120" if form == "seconds" else format_datetime(at, usegmt=True)
    receiver.script = [Reply(429, {"retry-after": asked})]
    outbox.raise_(change("opened"))
    outbox.turn()
    outbox.raise_(change("opened", route="code"))
    assert outbox.after(118) == 0
    assert outbox.after(3) == 2
    assert len(receiver.received) == 3


def test_an_absurd_retry_after_ends_with_the_day(
    repository: Repository, receiver: Receiver
) -> None:
    """A receiver that asks for a century gets one more try, and others' alerts after an hour."""
    receiver.script = [Reply(503, {"retry-after": "9" * 30})]
    outbox = Outbox(repository, [webhook(receiver.url)])
    (first,) = outbox.raise_(change("opened"))
    outbox.turn()
    outbox.raise_(change("opened", route="code"))
    assert outbox.after(HOUR_S + 1) == 1
    assert outbox.after(22 * HOUR_S) == 0
    assert outbox.after(HOUR_S) == 1
    assert only(repository, first).state == "delivered"


def test_gone_ends_a_channel(repository: Repository, receiver: Receiver) -> None:
    """After 410 a receiver gets nothing, of no alert, until somebody replays or tests it."""
    receiver.script = [Reply(410)]
    outbox = Outbox(repository, [webhook(receiver.url)])
    (waiting,) = outbox.raise_(change("opened"))
    outbox.turn()
    assert outbox.after(25 * HOUR_S) == 0
    (later,) = outbox.raise_(change("opened", route="code"))
    outbox.turn()
    assert receiver.ids == [waiting.id]
    assert only(repository, waiting).last_error == "answered 410: no body"
    assert "410 earlier" in (only(repository, later).last_error or "")

    async def replayed() -> None:
        again = await outbox.loop.replay_dead()
        assert {d.id for d in again} == {waiting.id, later.id}
        assert await outbox.loop.deliver_due() == 2

    asyncio.run(replayed())
    assert sorted(receiver.ids[1:]) == sorted([waiting.id, later.id])
    assert repository.dead_deliveries() == []


def test_gone_outlives_a_restart_and_a_reload(repository: Repository, receiver: Receiver) -> None:
    """Another process gives up too what is for a receiver that answered 410, and lists it."""
    receiver.script = [Reply(410)]
    outbox = Outbox(repository, [webhook(receiver.url)])
    (waiting,) = outbox.raise_(change("opened"))
    outbox.turn()
    assert outbox.turn() == 0
    assert gone_since(repository) == {waiting.channel: outbox.clock.now_us()}
    again = Outbox(repository, [webhook(receiver.url)], outbox.clock)
    again.loop.reconfigure([webhook(receiver.url)])
    (later,) = again.raise_(change("opened", route="code"))
    again.turn()
    assert receiver.ids == [waiting.id]
    assert "410 earlier" in (only(repository, later).last_error or "")


@pytest.mark.parametrize("ask", ["test", "reload", "restart", "replay"])
def test_a_channel_that_was_gone_can_come_back(
    repository: Repository, receiver: Receiver, ask: str
) -> None:
    """A trial that it takes, another entry, now or at a restart, or a replay switches it on."""
    receiver.script = [Reply(410)]
    outbox = Outbox(repository, [webhook(receiver.url)])
    (first,) = outbox.raise_(change("opened"))
    outbox.turn()
    if ask == "test":
        (found,) = asyncio.run(outbox.loop.test("trial"))
        assert found.result.delivered
    elif ask == "reload":
        outbox.loop.reconfigure([webhook(receiver.url, secret=OTHER_SECRET)])
    else:
        renewed = webhook(receiver.url, secret=OTHER_SECRET if ask == "restart" else SECRET)
        outbox = Outbox(repository, [renewed], outbox.clock)
    if ask == "replay":
        asyncio.run(outbox.loop.replay(first.id))
        outbox.turn()
    (later,) = outbox.raise_(change("opened", route="code"))
    outbox.turn()
    assert only(repository, later).state == "delivered"
    assert gone_since(repository) == {}


def reminding(url: str) -> ChannelConfig:
    """Return a webhook that is told daily of what stays open."""
    config = {"url": url, "secret": SECRET, "allow_private": True}
    return ChannelConfig.model_validate({"webhook": config, "remind": "24h"})


def test_what_stays_open_is_told_again(repository: Repository, receiver: Receiver) -> None:
    """Each day under another id, to those who ask for it; and no more once it has ended."""
    outbox = Outbox(repository, [reminding(receiver.url), webhook(f"{receiver.url}/other")])
    outbox.raise_(change("opened"))
    assert [outbox.turn(), outbox.after(23 * HOUR_S), outbox.after(HOUR_S)] == [2, 0, 1]
    assert [outbox.after(23 * HOUR_S), outbox.after(HOUR_S)] == [0, 1]
    outbox.raise_(change("resolved"))
    assert [outbox.turn(), outbox.after(25 * HOUR_S)] == [2, 0]
    found = [json.loads(r.body) for r in receiver.received if not r.path.endswith("/other")]
    words = ["opened", "reminded", "reminded", "resolved"]
    assert [body["type"] for body in found] == [f"drift.{word}" for word in words]
    assert len({body["data"]["alert_id"] for body in found}) == 1
    assert len(set(receiver.ids)) == len(receiver.ids) == 6


def test_reminders_do_not_pile_up(repository: Repository, receiver: Receiver) -> None:
    """While one waits, none is queued; one that was given up is followed by the next."""
    receiver.always = Reply(500)
    outbox = Outbox(repository, [reminding(receiver.url)])
    outbox.raise_(change("opened"))
    for _ in range(20):
        outbox.after(6 * HOUR_S)
        assert len(repository.pending_deliveries()) <= 1
    (alert,) = repository.open_alerts()
    events = [d.event for d in repository.deliveries_of(alert.id)]
    assert events[:2] == ["drift.opened", "drift.reminded"]
    assert len(events) <= 6


def test_a_channel_that_is_off_is_reminded_of_nothing(
    repository: Repository, receiver: Receiver
) -> None:
    """Or the list of the dead would grow each day that an episode stays open."""
    receiver.always = Reply(410)
    outbox = Outbox(repository, [reminding(receiver.url)])
    outbox.raise_(change("opened"))
    outbox.turn()
    outbox.after(25 * HOUR_S)
    assert [d.event for d in repository.dead_deliveries()] == ["drift.opened"]


def test_redirects_are_not_followed(repository: Repository, receiver: Receiver) -> None:
    """A receiver cannot send us elsewhere; it counts as a failure."""
    with receiving() as elsewhere:
        receiver.script = [Reply(307, {"location": elsewhere.url})]
        outbox = Outbox(repository, [webhook(receiver.url)])
        (waiting,) = outbox.raise_(change("opened"))
        outbox.turn()
        assert elsewhere.received == []
    after = only(repository, waiting)
    assert (after.state, after.last_status) == ("pending", 307)
    assert "redirects are not followed" in (after.last_error or "")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "2130706433",
        "0x7f000001",
        "127.1",
    ],
)
def test_private_addresses_are_refused(
    repository: Repository, receiver: Receiver, host: str
) -> None:
    """However a URL spells this machine, nothing is sent unless the configuration allows it."""
    url = f"http://{host}:{receiver.port}/hook"
    outbox = Outbox(repository, [webhook(url, allow_private=False)])
    (waiting,) = outbox.raise_(change("opened"))
    assert outbox.turn() == 1
    assert receiver.received == []
    assert "allow_private" in (only(repository, waiting).last_error or "")


def test_a_name_is_kept_in_the_request(repository: Repository, receiver: Receiver) -> None:
    """We connect to a checked address, and the receiver still sees the name it serves."""
    outbox = Outbox(repository, [webhook(f"http://localhost:{receiver.port}/hook")])
    outbox.raise_(change("opened"))
    outbox.turn()
    (request,) = receiver.received
    assert request.headers["host"] == f"localhost:{receiver.port}"


def test_the_order_of_an_episode_is_kept(repository: Repository, receiver: Receiver) -> None:
    """`resolved` waits while `opened` is retried, and follows it at once."""
    receiver.script = [Reply(500)]
    outbox = Outbox(repository, [webhook(receiver.url)])
    outbox.raise_(change("opened"))
    outbox.turn()
    outbox.raise_(change("resolved"))
    assert outbox.turn() == 0
    assert outbox.after(6) == 1
    assert outbox.turn() == 1
    types = [json.loads(request.body)["type"] for request in receiver.received]
    assert types == ["drift.opened", "drift.opened", "drift.resolved"]


def test_a_dead_notification_lets_the_next_pass(repository: Repository, receiver: Receiver) -> None:
    """A receiver that never took `opened` is still told of the end."""
    receiver.script = [Reply(500)]
    outbox = Outbox(repository, [webhook(receiver.url)])
    outbox.raise_(change("opened"))
    outbox.clock.now_s += 25 * HOUR_S
    outbox.raise_(change("resolved"))
    assert [outbox.turn(), outbox.turn(), outbox.turn()] == [1, 1, 0]
    assert json.loads(receiver.received[-1].body)["type"] == "drift.resolved"


def test_a_restart_goes_on_where_it_was(tmp_path: Path, receiver: Receiver) -> None:
    """A new process on the same file waits for the same time and sends the same id."""
    receiver.script = [Reply(500), Reply(500)]
    clock = MovingClock()
    channels = [webhook(receiver.url)]
    database = open_empty_log(tmp_path, now_us=clock.now_us)
    before = Outbox(Repository(database), channels, clock)
    (waiting,) = before.raise_(change("opened"))
    before.turn()
    assert before.after(6) == 1
    database.close()
    database = Database.open(tmp_path, now_us=clock.now_us)
    again = Outbox(Repository(database), channels, clock)
    assert again.turn() == 0
    assert again.after(400) == 1
    after = only(again.repository, waiting)
    database.close()
    assert (after.state, after.tries) == ("delivered", 3)
    assert receiver.ids == [waiting.id] * 3


def test_a_lost_answer_repeats_the_id(repository: Repository, receiver: Receiver) -> None:
    """A receiver that took it but could not say so counts one, by the id."""
    receiver.script = [Reply(close=True)]
    outbox = Outbox(repository, [webhook(receiver.url)])
    outbox.raise_(change("opened"))
    outbox.turn()
    outbox.after(6)
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1


def test_a_receiver_that_hangs_is_left(repository: Repository, receiver: Receiver) -> None:
    """A try is bounded, and the notification waits for the next."""
    receiver.script = [Reply(delay_s=0.5)]
    outbox = Outbox(repository, [webhook(receiver.url)], timeout_s=0.1)
    (waiting,) = outbox.raise_(change("opened"))
    outbox.turn()
    after = only(repository, waiting)
    assert (after.state, after.last_status) == ("pending", None)
    assert "no answer within" in (after.last_error or "")


def test_a_channel_that_hangs_holds_up_no_other(repository: Repository, receiver: Receiver) -> None:
    """While one receiver lets its first two wait, another gets all of its twenty."""
    receiver.always = Reply(delay_s=2.0)
    with receiving() as good:
        outbox = Outbox(repository, [webhook(receiver.url), webhook(good.url)], timeout_s=2.0)
        outbox.raise_(*(change("opened", route=f"r{n}") for n in range(20)))

        async def serve() -> None:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(outbox.loop.run())
                await asyncio.to_thread(wait_until, lambda: len(good.received) == 20, 1.9)
                running.cancel()

        asyncio.run(serve())
        assert len(set(good.ids)) == 20
        assert len(receiver.received) == 2


def test_a_result_that_cannot_be_written_stops_sending(
    repository: Repository, receiver: Receiver
) -> None:
    """With a full disk a receiver gets a notification once, not at every turn."""
    outbox = Outbox(repository, [webhook(receiver.url)])
    (waiting,) = outbox.raise_(change("opened"))
    full = FullDisk(repository._database)
    loop = DeliveryLoop(full, [webhook(receiver.url)], outbox.clock, random.Random(1))

    async def turns() -> None:
        for _ in range(3):
            with pytest.raises(DatabaseFailed):
                await loop.deliver_due()
        assert loop.statistics().unsaved == 1
        full.full = False
        assert await loop.deliver_due() == 0

    asyncio.run(turns())
    assert len(receiver.received) == 1
    assert only(repository, waiting).state == "delivered"


class FullDisk(Repository):
    """A repository whose disk is full until somebody makes room."""

    full = True

    def save_delivery(self, delivery: Delivery) -> None:
        """Refuse, or save."""
        if self.full:
            raise DatabaseFailed("no space left on device")
        super().save_delivery(delivery)


def test_a_removed_channel_is_given_up_and_can_come_back(
    repository: Repository, receiver: Receiver
) -> None:
    """What waits for a channel that the configuration drops is dead; replay sends it later."""
    channel = webhook(receiver.url)
    outbox = Outbox(repository, [channel])
    (waiting,) = outbox.raise_(change("opened"))

    async def story() -> None:
        outbox.loop.reconfigure([])
        await outbox.loop.deliver_due()
        assert only(repository, waiting).state == "dead"
        outbox.loop.reconfigure([channel])
        assert await outbox.loop.deliver_due() == 0
        again = await outbox.loop.replay(waiting.id)
        assert again is not None
        assert again.state == "pending"
        assert await outbox.loop.deliver_due() == 1

    asyncio.run(story())
    assert receiver.ids == [waiting.id]
    assert asyncio.run(outbox.loop.replay("none")) is None


def test_the_loop_delivers_when_it_is_woken(repository: Repository, receiver: Receiver) -> None:
    """A thread that queues a notification and wakes the loop need not wait for its next turn."""
    outbox = Outbox(repository, [webhook(receiver.url)])

    def queue() -> None:
        wait_until(lambda: outbox.loop._loop is not None)
        outbox.raise_(change("opened"))
        outbox.loop.wake()

    async def serve() -> None:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(outbox.loop.run())
            await asyncio.to_thread(queue)
            await asyncio.to_thread(wait_until, lambda: outbox.loop.statistics().delivered == 1)
            await asyncio.to_thread(wait_until, lambda: not repository.pending_deliveries())
            running.cancel()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    thread.join()
    outbox.loop.wake()  # Its loop is closed by now.
    assert len(receiver.received) == 1


def test_a_trial_says_which_channel_works(repository: Repository, receiver: Receiver) -> None:
    """It goes past the outbox, signed, and leaves nothing behind."""
    with receiving() as bad:
        bad.always = Reply(401, body=b"who are you?")
        outbox = Outbox(repository, [webhook(receiver.url), webhook(bad.url)])
        found = asyncio.run(outbox.loop.test("trial-1"))
    assert [r.result.delivered for r in found] == [True, False]
    assert found[1].result.error == "answered 401: who are you?"
    (request,) = receiver.received
    assert Webhook(SECRET).verify(request.body, request.headers)["type"] == "alert.test"
    assert repository.pending_deliveries() == []
    assert repository.open_alerts() == []
