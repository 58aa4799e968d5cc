"""Clients that come and go while a test looks at what the gateway makes of them."""

import random
import threading
import time
from types import TracebackType
from typing import Self

import httpx2

SHORT = (
    "Name a colour that you like and tell me in which season it is seen.",
    "Which planet of the solar system is the largest one?",
    "How many minutes does it take to boil an egg?",
    "Tell me the capital of the country next to yours.",
    "What should I wear when it is raining outside today?",
)
LONG = tuple(
    f"{start} et explique ensuite pourquoi, avec beaucoup de détails, " * 6
    for start in (
        "Décris la ville où tu es né",
        "Raconte l'histoire de la mer",
        "Dis-moi ce que les gens mangent le soir",
    )
)


class Visitors:
    """Threads that ask until the block ends; `prompts` may be changed while they do.

    Parameters
    ----------
    bodies : dict of str to dict
        Route to what a request of it says beside model and messages.
    pause_s : float
        Between two requests of one visitor.
    """

    def __init__(
        self, url: str, bodies: dict[str, dict[str, object]], *, pause_s: float = 0.05
    ) -> None:
        self.prompts: tuple[str, ...] = SHORT
        self.statuses: dict[int, int] = {}
        self._url = url
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._visit, args=(route, body, number))
            for number, (route, body) in enumerate(bodies.items())
        ]

    def _visit(self, route: str, more: dict[str, object], seed: int) -> None:
        draw = random.Random(seed)
        with httpx2.Client(base_url=self._url, timeout=30, trust_env=False) as client:
            while not self._stop.wait(self._pause_s):
                message = {"role": "user", "content": draw.choice(self.prompts)}
                body = {"model": route, "messages": [message], **more}
                status = client.post("/v1/chat/completions", json=body).status_code
                with self._lock:
                    self.statuses[status] = self.statuses.get(status, 0) + 1

    def wait_for(self, requests: int, timeout_s: float = 30.0) -> None:
        """Wait until so many more requests have been answered."""
        goal = sum(self.statuses.values()) + requests
        deadline_s = time.monotonic() + timeout_s
        while sum(self.statuses.values()) < goal:
            assert time.monotonic() < deadline_s, self.statuses
            time.sleep(0.05)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
