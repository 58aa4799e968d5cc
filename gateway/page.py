"""The control plane's first page: where everything is. No script, no outside resource."""

import html

from gateway.config import Settings

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;"
    "color:#1b1f24;background:#fff}h1{font-size:1.4rem}code{background:#f2f4f7;padding:.1em .3em}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.3em 1em .3em 0;"
    "border-bottom:1px solid #d8dee4}a{color:#0a58ca}"
    "@media(prefers-color-scheme:dark){body{background:#14171a;color:#e6e8ea}"
    "code{background:#23282d}td,th{border-color:#3a4046}a{color:#8ab4ff}}"
)


def page(settings: Settings) -> str:
    """Return the page for a configuration."""
    rows = "".join(
        f"<tr><td><code>{html.escape(route.name)}</code></td>"
        f"<td>{html.escape(_shares(route.split))}</td>"
        f"<td>{html.escape(', '.join(route.fallback) or '–')}</td></tr>"
        for route in settings.routes.values()
    )
    base = f"http://{html.escape(settings.gateway.listen)}/v1"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>driftgate</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<main><h1>driftgate</h1><p>Clients: <code>base_url=&quot;{base}&quot;</code></p>"
        "<table><thead><tr><th>Route</th><th>Split</th><th>Fallback</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        '<ul><li><a href="/api/v1/report?since=24h">Report of the last 24 hours (JSON)</a></li>'
        '<li><a href="/api/v1/status">Status (JSON)</a></li>'
        '<li><a href="/metrics">Prometheus metrics</a></li>'
        '<li><a href="/api/v1/docs">API documentation</a> (loads its viewer from the web)</li></ul>'
        "</main></body></html>"
    )


def _shares(split: dict[str, float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in split.items())
