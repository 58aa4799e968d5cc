"""What the show is set up with: the numbers of its phases and the gateway's configuration."""

from pathlib import Path
from typing import NamedTuple

import yaml

from local_engine.config import DEFAULT_MODEL, EngineConfig

ROUTE = "chat"
STEADY = "steady"
CANDIDATE = "candidate"
LOCAL = "local"
UPSTREAMS = (STEADY, CANDIDATE)
MIN_SAMPLES = 20
LOOK_EVERY_S = 5
WINDOW_S = 30
LEAST_REQUESTS = 60
"""Fewer would leave too few rows for a baseline."""

ENGINES = {
    STEADY: EngineConfig(slots=4, context_tokens=1024, threads=1, gpu_layers=0),
    CANDIDATE: EngineConfig(slots=2, context_tokens=512, threads=1, gpu_layers=0, batch_tokens=64),
}
"""The two upstreams: one model, differently configured servers."""


class Phases(NamedTuple):
    """Requests of each phase."""

    usual: int
    outage: int
    shifted: int


def phases_of(requests: int) -> Phases:
    """Divide a number of requests: 5/12 make the baseline, 1/4 see the outage, the rest shift.

    Parameters
    ----------
    requests : int
        At least `LEAST_REQUESTS`.
    """
    usual, outage = requests * 5 // 12, requests // 4
    return Phases(usual, outage, requests - usual - outage)


def upstream_socket(folder: Path, name: str) -> Path:
    """Return where an upstream listens."""
    return folder / f"{name}.sock"


def config_text(sockets: Path, webhook_url: str, webhook_secret: str) -> str:
    """Return the configuration file of the show.

    Parameters
    ----------
    sockets : Path
        Directory of the upstreams' sockets.
    webhook_url, webhook_secret : str
        The demo's own receiver.
    """
    upstreams = {
        name: {
            "url": f"unix://{upstream_socket(sockets, name)}",
            "model": DEFAULT_MODEL,
            "version": f"{name}-1",
        }
        for name in UPSTREAMS
    }
    route = {
        "split": {STEADY: 0.9, CANDIDATE: 0.1},
        "sticky": "user",
        "shadow": {CANDIDATE: 0.2},
        "fallback": [LOCAL],
        # A handful of requests is all there is in flight, and an outage hits all of them.
        "retry": {"attempts": 2, "budget": 1.0},
    }
    # How fast two cores answer is about their other work, not about the traffic.
    timing = ("latency_s", "ttft_s", "time_per_output_token_s")
    data = {
        "upstreams": {**upstreams, LOCAL: {"engine": "llama.cpp", "model": DEFAULT_MODEL}},
        "routes": {ROUTE: route},
        "engine": {"slots": 4, "context_tokens": 1024, "threads": 1, "gpu_layers": 0},
        "monitors": {
            "every": f"{LOOK_EVERY_S}s",
            "window": f"{WINDOW_S}s",
            "min_samples": MIN_SAMPLES,
            "features": {name: {"enabled": False} for name in timing},
        },
        "alerts": [
            {"webhook": {"url": webhook_url, "secret": webhook_secret, "allow_private": True}}
        ],
    }
    return yaml.safe_dump(data, sort_keys=False)
