import asyncio
import datetime as dt
import io
import json
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from rich.console import Console
from standardwebhooks import Webhook

from gateway.demo.alert_text import alert_lines
from gateway.demo.progress import Narrator
from gateway.demo.prompts import ENGLISH, SHIFTED
from gateway.demo.receiver import TOLERANCE_S, Receiver, is_signed, new_secret
from gateway.demo.stage import LEAST_REQUESTS, MIN_SAMPLES, ROUTE, config_text, phases_of
from gateway.demo.traffic import CONCURRENCY, Crowd, new_client
from gateway.settings import settings_from_text
from monitors.signals.language import language
from router.clock import SystemClock

NOW_S = 1_795_000_000
BODY = b'{"type": "drift.opened"}'


def _signed(secret: str, body: bytes, at_s: int) -> dict[bytes, bytes]:
    moment = dt.datetime.fromtimestamp(at_s, dt.UTC)
    return {
        b"webhook-id": b"msg_1",
        b"webhook-timestamp": b"%d" % at_s,
        b"webhook-signature": Webhook(secret).sign("msg_1", moment, body.decode()).encode(),
    }


def test_the_configuration_is_one_that_the_gateway_takes(tmp_path: Path) -> None:
    """Two upstreams on sockets, the engine behind them, a canary, a shadow, a signed webhook."""
    secret = new_secret()
    text = config_text(tmp_path, "http://127.0.0.1:9/hook", secret)
    settings = settings_from_text(text, {}, source="the demo")
    route = settings.routes[ROUTE]
    assert route.split == {"steady": 0.9, "candidate": 0.1}
    assert route.shadow == {"candidate": 0.2}
    assert route.fallback == ("local",)
    assert settings.upstreams["steady"].url == f"unix://{tmp_path}/steady.sock"
    assert settings.engine_upstream is settings.upstreams["local"]
    webhook = settings.alerts[0].webhook
    assert webhook is not None
    assert webhook.secret is not None
    assert webhook.secret.get_secret_value() == secret


@pytest.mark.parametrize("requests", [LEAST_REQUESTS, 96, 121, 1000])
def test_phases_use_every_request(requests: int) -> None:
    """They add up, and the baseline and the shift have rows enough to be compared."""
    phases = phases_of(requests)
    assert sum(phases) == requests
    assert min(phases.usual, phases.shifted) >= MIN_SAMPLES


def test_usual_prompts_are_many_short_english_ones() -> None:
    """At least forty, all different, every one known as English."""
    assert len(set(ENGLISH)) == len(ENGLISH) >= 40
    assert {language(prompt) for prompt in ENGLISH} == {"en"}
    assert max(map(len, ENGLISH)) < 60


def test_shifted_prompts_are_longer_and_in_two_other_languages() -> None:
    """Each is known as French or German, in equal numbers."""
    found = [language(prompt) for prompt in SHIFTED]
    assert found.count("fr") == found.count("de") == len(SHIFTED) // 2
    assert min(map(len, SHIFTED)) > 2 * max(map(len, ENGLISH))


def test_a_message_signed_by_another_implementation_is_believed() -> None:
    """What the reference library signs is verified."""
    secret = new_secret()
    assert is_signed(secret, _signed(secret, BODY, NOW_S), BODY, NOW_S)


def test_one_of_several_signatures_is_enough() -> None:
    """While a secret is changed, messages carry the signatures of both."""
    secret = new_secret()
    headers = _signed(secret, BODY, NOW_S)
    headers[b"webhook-signature"] = b"v1,AAAA " + headers[b"webhook-signature"]
    assert is_signed(secret, headers, BODY, NOW_S)


def test_another_secret_or_body_is_not_believed() -> None:
    """A signature holds for one secret and one body."""
    secret = new_secret()
    headers = _signed(secret, BODY, NOW_S)
    assert not is_signed(new_secret(), headers, BODY, NOW_S)
    assert not is_signed(secret, headers, BODY + b" ", NOW_S)


def test_an_old_message_is_not_believed() -> None:
    """A message that was caught and is sent again later is refused."""
    secret = new_secret()
    headers = _signed(secret, BODY, NOW_S)
    assert is_signed(secret, headers, BODY, NOW_S + TOLERANCE_S)
    assert not is_signed(secret, headers, BODY, NOW_S + TOLERANCE_S + 1)


@pytest.mark.parametrize("name", [b"webhook-id", b"webhook-timestamp", b"webhook-signature"])
def test_a_message_without_one_of_its_headers_is_not_believed(name: bytes) -> None:
    """All three are needed."""
    secret = new_secret()
    headers = _signed(secret, BODY, NOW_S)
    del headers[name]
    assert not is_signed(secret, headers, BODY, NOW_S)


def test_the_receiver_keeps_signed_messages_alone() -> None:
    """Over HTTP: 204 and the parsed event, or 401 and a count."""

    async def run() -> None:
        clock = SystemClock()
        async with Receiver(clock).listening() as receiver, httpx2.AsyncClient() as client:
            refused = await client.post(receiver.url, content=BODY)
            headers = _signed(receiver.secret, BODY, clock.now_us() // 1_000_000)
            taken = await client.post(receiver.url, content=BODY, headers=list(headers.items()))
            assert (refused.status_code, taken.status_code) == (401, 204)
            assert receiver.refused == 1
            assert receiver.events.get_nowait() == json.loads(BODY)
            assert receiver.events.empty()

    asyncio.run(run())


def test_an_alert_is_told_in_a_few_lines() -> None:
    """Type, severity, summary, and each feature's effect with its rows."""
    feature = {
        "feature": "language",
        "statistic": "psi",
        "value": 2.104,
        "n_reference": 40,
        "n_current": 31,
        "cause": "new: `fr`",
    }
    data = {"severity": "critical", "route": "chat", "summary": "It moved.", "features": [feature]}
    event = {"type": "drift.opened", "timestamp": "2026-11-21T09:43:50Z", "data": data}
    assert list(alert_lines(event)) == [
        "drift.opened   critical   route `chat`   2026-11-21T09:43:50Z",
        "It moved.",
        "language: psi 2.10 (n = 40 then, 31 now): new: `fr`",
    ]


def test_the_first_error_ends_the_asking() -> None:
    """Nobody listens: each of those who ask at once sees one error, the rest is not sent."""

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        async with new_client(url) as client:
            tally = await Crowd(client, lambda _: None).ask(ENGLISH, at_least=100)
        assert tally.answered == 0
        assert 1 <= len(tally.errors) <= CONCURRENCY
        assert tally.errors[0].startswith("APIConnectionError")

    asyncio.run(run())


def test_progress_is_plain_lines_where_there_is_no_terminal() -> None:
    """Now and then a line, the last one always, no control characters."""
    out = io.StringIO()
    narrator = Narrator(Console(file=out), SystemClock())
    with narrator.step("Usual traffic: short"), narrator.requests(10) as show:
        for done in range(1, 11):
            show(done, "0 errors")
    narrator.finish(1.0)
    lines = [line.strip() for line in out.getvalue().splitlines() if line]
    assert lines[0] == "1. Usual traffic: short"
    assert lines[-4:-2] == ["10/10 requests   0 errors", "Done."]
    assert lines[-2].endswith("s   Usual traffic")
    assert "\x1b" not in out.getvalue()


def test_without_the_official_client_it_says_what_to_install() -> None:
    """Exit code 2 and the command that helps."""
    program = (
        "import sys; sys.modules['openai'] = None; sys.argv = ['monitor', 'demo'];"
        "from gateway.cli.main import main; sys.exit(main())"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert "driftgate[demo]" in done.stderr
