"""Sets the show up, plays it, and clears everything away again."""

import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from gateway.demo.errors import DemoFailed
from gateway.demo.programs import (
    addresses,
    engine_loaded,
    model_loaded,
    running_gateway,
    running_upstream,
)
from gateway.demo.progress import Narrator
from gateway.demo.receiver import Receiver
from gateway.demo.show import Scene, Show
from gateway.demo.stage import STEADY, UPSTREAMS, config_text, phases_of, upstream_socket
from gateway.demo.traffic import new_client
from router.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line asked for.

    Attributes
    ----------
    data_dir : Path or None
        Of the prediction log; None is a temporary one, which stays only with `keep`.
    keep : bool
        Leave the server running, and its files where they are.
    """

    requests: int
    data_dir: Path | None
    keep: bool


@dataclass(frozen=True, slots=True)
class _Urls:
    data: str
    control: str


async def run_demo(options: DemoOptions) -> None:
    """Play the show; the report goes to stdout, everything else to stderr.

    Raises
    ------
    DemoFailed
        A step did not happen.
    """
    clock = SystemClock()
    narrator = Narrator(Console(stderr=True), clock)
    with _folder(options) as folder:
        async with AsyncExitStack() as stack:
            with narrator.step("Set-up: two model servers, the gateway and its own engine"):
                scene, urls = await _set_up(folder, options, stack, clock)
                narrator.say(f"data plane {urls.data}/v1   web page {urls.control}/")
            ready_s = clock.monotonic()
            show = Show(scene, phases_of(options.requests), narrator, clock)
            try:
                await show.play()
            except DemoFailed:
                narrator.say(f"The gateway's log ends with:\n{scene.gateway.tail()}")
                raise
            narrator.finish(clock.monotonic() - ready_s)
            _say_where(narrator, urls, folder / "driftgate.yaml", options)
            if options.keep:
                await scene.gateway.process.wait()
                scene.gateway.check()


async def _set_up(
    folder: Path, options: DemoOptions, stack: AsyncExitStack, clock: Clock
) -> tuple[Scene, _Urls]:
    data_dir = (options.data_dir or folder / "data").absolute()
    # A socket's path may hold 107 bytes; a data directory's may be longer.
    sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="driftgate-")))
    receiver = await stack.enter_async_context(Receiver(clock).listening())
    upstreams = {
        name: await stack.enter_async_context(running_upstream(name, sockets, folder))
        for name in UPSTREAMS
    }
    config = folder / "driftgate.yaml"
    config.write_text(config_text(sockets, receiver.url, receiver.secret), encoding="utf-8")
    config.chmod(0o600)
    gateway = await stack.enter_async_context(running_gateway(config, data_dir))
    urls = _Urls(*await addresses(gateway, clock))
    for name, program in upstreams.items():
        await model_loaded(program, upstream_socket(sockets, name), clock)
    await engine_loaded(gateway, data_dir, clock)
    client = await stack.enter_async_context(new_client(f"{urls.data}/v1"))
    return Scene(upstreams[STEADY], gateway, client, urls.control, receiver), urls


@contextmanager
def _folder(options: DemoOptions) -> Iterator[Path]:
    """Make the directory of configuration and logs; it stays with `keep`."""
    if options.keep:
        yield Path(tempfile.mkdtemp(prefix="driftgate-demo-"))
        return
    with tempfile.TemporaryDirectory(prefix="driftgate-demo-") as folder:
        yield Path(folder)


def _say_where(narrator: Narrator, urls: _Urls, config: Path, options: DemoOptions) -> None:
    if not options.keep:
        kept = f"The prediction log stays in {options.data_dir}." if options.data_dir else ""
        narrator.say(f"Everything is being ended. {kept}".rstrip())
        return
    narrator.say(f"web page     {urls.control}/")
    narrator.say(f"metrics      {urls.control}/metrics")
    narrator.say(f"API          {urls.control}/api/v1/docs")
    narrator.say(f'client       OpenAI(base_url="{urls.data}/v1"), model "chat"')
    narrator.say(f"configured   {config}")
    narrator.say("The server goes on, without the upstream that was killed; end it with Ctrl-C.")
