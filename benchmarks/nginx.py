"""nginx in two parts: the static upstream, and the proxy that is the floor."""

import json
from contextlib import ExitStack
from pathlib import Path

from processes import free_port, running

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "chat",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Jupiter is the largest planet. " * 12},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 41, "completion_tokens": 84, "total_tokens": 125},
    }
)
MODELS = json.dumps(
    {
        "object": "list",
        "data": [{"id": "chat", "object": "model", "created": 1, "owned_by": "bench"}],
    }
)
_CONFIG = """
daemon off; worker_processes 1; error_log stderr crit; pid {dir}/pid;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 10000000; client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u;
  scgi_temp_path {dir}/s; default_type application/json;
  upstream backend {{ server 127.0.0.1:{upstream}; keepalive 2048; keepalive_requests 10000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    {body}
  }}
}}
"""
_STATIC = (
    f"location = /v1/models {{ return 200 '{MODELS}'; }} location / {{ return 200 '{ANSWER}'; }}"
)
_PROXY = (
    "location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_buffering off;"
    " proxy_set_header Connection ''; }"
)


def static(stack: ExitStack, directory: Path) -> tuple[int, int]:
    """Start an upstream that answers every chat alike; return port and process id."""
    return _start(stack, directory / "static", _STATIC, 9)


def proxy(stack: ExitStack, home: Path, upstream: int) -> tuple[int, int]:
    """Start a proxy with keep-alive upstream and no buffering; return port and process id."""
    return _start(stack, home, _PROXY, upstream)


def _start(stack: ExitStack, home: Path, body: str, upstream: int) -> tuple[int, int]:
    port = free_port()
    home.mkdir(parents=True)
    path = home / "nginx.conf"
    path.write_text(_CONFIG.format(dir=home, upstream=upstream, port=port, body=body))
    process = stack.enter_context(running(["nginx", "-c", str(path), "-p", str(home)], port=port))
    return port, process.pid
