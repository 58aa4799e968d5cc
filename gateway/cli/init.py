"""`monitor init`: a configuration to start from."""

from pathlib import Path

import click

from gateway.cli.exits import GOOD

STARTING_FILE = """\
# Configuration of driftgate. `monitor check` says whether it is good and what it comes to;
# a running `monitor serve` takes changes at once and keeps the old file while a new one is wrong.
# ${NAME} is an environment variable, ${NAME:-else} one with a default.

gateway:
  listen: 127.0.0.1:8080            # clients: http://127.0.0.1:8080/v1
  control: 127.0.0.1:8081           # web page, API, /metrics
  data_dir: ./driftgate-data
  # keys:                           # without keys, only addresses of this machine are listened on
  #   - {name: team-a, sha256: "..."}   # printf %s KEY | sha256sum

upstreams:
  # primary: {url: "https://api.openai.com/v1", api_key: "${OPENAI_API_KEY}"}
  # candidate: {url: "http://10.0.0.5:8000/v1", model: my-finetune}
  local: {engine: llama.cpp, model: smollm2-135m-instruct}

routes:
  "*":                              # every model name; a route's key is the name clients send
    split: {local: 1.0}             # such as {primary: 0.95, candidate: 0.05}
    # sticky: user                  # who stays with one variant: user | header:NAME | none
    # shadow: {candidate: 0.10}     # a copy of that share; its answers are only recorded
    # fallback: [candidate, local]  # who answers when the chosen one cannot
    # retry: {attempts: 2, budget: 0.2}
    # timeouts: {connect: 2s, first_token: 30s, idle: 30s, total: 300s}
    # cache: {ttl: 1h}

record:
  payloads: full                    # none: no text of requests and answers reaches the disk
  retention: {payloads: 30d, predictions: 365d}

monitors:
  false_alarms_per_30d: 1           # for a route, over all that is watched
  every: 5m
  window: 1h
  # baseline: {from: 2026-11-01, to: 2026-11-08}    # or `monitor baseline set`

alerts: []
  # - webhook: {url: "https://example.com/hooks/drift", secret: "${WEBHOOK_SECRET}"}
  # - alertmanager: {url: "http://127.0.0.1:9093"}
"""


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("driftgate.yaml"),
    show_default=True,
    help="File to write.",
)
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
def init(output: Path, *, force: bool) -> int:
    """Write a commented configuration to start from."""
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(STARTING_FILE)
    except FileExistsError as error:
        raise click.UsageError(f"`{output}` exists; say --force to replace it") from error
    except OSError as error:
        raise click.UsageError(f"`{output}` cannot be written: {error.strerror}") from error
    click.echo(f"wrote {output}; now: monitor check {output}", err=True)
    return GOOD
