"""Fetches a model file: to a temporary name, checked, then moved into place."""

import hashlib
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from local_engine.errors import ModelInvalid, ModelNotFound

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Called with the bytes that have arrived and the bytes expected, None if unknown."""

TIMEOUT_S = 30.0  # for the connection and between two reads
CHUNK_BYTES = 1 << 20


def download(url: str, target: Path, *, sha256: str | None, progress: Progress) -> None:
    """Bring `url` to `target`; nothing is there until all of it has arrived and is checked.

    Parameters
    ----------
    url : str
        http or https.
    target : Path
        Its folder is made when missing.
    sha256 : str or None
        Expected digest in hex.
    progress : callable
        Told about every chunk.

    Raises
    ------
    ModelNotFound
        The server cannot be reached or does not have it.
    ModelInvalid
        Fewer bytes arrived than were announced, or the digest differs.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ModelNotFound(f"`{url}` cannot be downloaded: only http and https are")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    logger.info("downloading %s to %s", url, target)
    try:
        with part.open("wb") as file:
            digest = _fetch(url, file, progress)
        check_digest(digest, sha256, source=url)
        part.replace(target)
    except (OSError, HTTPException) as error:
        raise ModelNotFound(_advice(url, error)) from error
    finally:
        part.unlink(missing_ok=True)


def check_digest(digest: str, expected: str | None, *, source: str) -> None:
    """Compare a digest with the one that was asked for, if any.

    Raises
    ------
    ModelInvalid
    """
    if expected is not None and digest != expected.lower():
        raise ModelInvalid(
            f"`{source}` has SHA-256 {digest}, not {expected}; it is another file or was damaged"
        )


def log_progress(done_bytes: int, total_bytes: int | None) -> None:
    """Log a line for each 64 MiB."""
    step = 64 << 20
    if done_bytes % step < CHUNK_BYTES and done_bytes >= step:
        total = "?" if total_bytes is None else str(total_bytes >> 20)
        logger.info("downloaded %d of %s MiB", done_bytes >> 20, total)


def _fetch(url: str, file: IO[bytes], progress: Progress) -> str:
    request = urllib.request.Request(url, headers={"User-Agent": "driftgate"})  # noqa: S310 - checked by the caller.
    digest = hashlib.sha256()
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above.
        length = answer.headers.get("Content-Length")
        total = int(length) if length is not None and length.isdigit() else None
        done = 0
        while chunk := answer.read(CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            progress(done, total)
    if total is not None and done != total:
        raise ModelInvalid(f"`{url}` broke off after {done} of {total} bytes; try again")
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest()


def _advice(url: str, error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError) and error.code in {401, 403}:
        return (
            f"`{url}` may not be downloaded without an account (status {error.code});"
            " fetch it with the hub's own tool, then give its path as the model"
        )
    return f"`{url}` could not be downloaded: {error}; check the name, or give a file's path"
