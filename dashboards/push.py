"""Puts the boards into a running Grafana, through grafana-client (extra `grafana`)."""

import json

from grafana_client import GrafanaApi, TokenAuth
from grafana_client.client import GrafanaException

from dashboards.errors import PushFailed
from dashboards.files import BOARDS, board_text

TIMEOUT_S = 30.0


def push(url: str, token: str) -> list[str]:
    """Create or replace the boards; return their addresses.

    Parameters
    ----------
    url : str
        Grafana's base URL.
    token : str
        Of a service account that may write dashboards.

    Raises
    ------
    PushFailed
        Grafana refused them, or did not answer.
    """
    grafana = GrafanaApi.from_url(url=url, credential=TokenAuth(token), timeout=TIMEOUT_S)
    addresses = []
    for name in BOARDS:
        board = json.loads(board_text(name)) | {"id": None}
        body = {"dashboard": board, "overwrite": True, "message": "monitor dashboards push"}
        try:
            found = grafana.dashboard.update_dashboard(body)
        except (GrafanaException, OSError) as error:
            raise PushFailed(f"{url} did not take {name}: {error}") from error
        addresses.append(url.rstrip("/") + str(found.get("url", "")))
    return addresses
