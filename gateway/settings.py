"""Where the configuration comes from: a file, or the environment alone."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from gateway.config import Settings
from gateway.config_source import Source
from gateway.errors import ConfigError
from gateway.settings_problems import describe
from local_engine.config import DEFAULT_MODEL

ENGINE_NAME = "local"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def load_settings(source: Source, environ: Mapping[str, str]) -> Settings:
    """Read and check a configuration.

    Raises
    ------
    ConfigError
        Anything in it is wrong; every problem is named, nothing is taken.
    """
    if source.path is None:
        return parse_settings(zero_config(environ), source="the environment")
    try:
        text = source.path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"cannot be read: {error}"], source=str(source)) from error
    return settings_from_text(text, environ, source=str(source))


def settings_from_text(text: str, environ: Mapping[str, str], *, source: str) -> Settings:
    """Check the text of a configuration file; see `load_settings`."""
    try:
        data = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  (a SafeLoader underneath)
    except yaml.YAMLError as error:
        raise ConfigError([_yaml_problem(error)], source=source) from error
    if not isinstance(data, dict):
        raise ConfigError(["must be a mapping with `upstreams` and `routes`"], source=source)
    problems: list[str] = []
    data = _expand(data, environ, "", problems)
    if problems:
        raise ConfigError(problems, source=source)
    return parse_settings(data, source=source)


def parse_settings(data: dict[str, Any], *, source: str) -> Settings:
    """Validate plain data; names of upstreams and routes are taken from their keys."""
    for section in ("upstreams", "routes"):
        entries = data.get(section)
        if isinstance(entries, dict):
            data[section] = {
                key: {**value, "name": str(key)} if isinstance(value, dict) else value
                for key, value in entries.items()
            }
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigError(describe(error), source=source) from error
    return _read_secret_files(settings, source)


def settings_from_message(message: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Check the configuration that the supervisor passed on: a file's text, or none.

    `gateway.listen` becomes the address that is really listened on: the command line may say
    another one, and port 0 stands for any.
    """
    text, source = message["text"], message["source"]
    if text is None:
        settings = parse_settings(zero_config(environ), source=source)
    else:
        settings = settings_from_text(text, environ, source=source)
    if "listen" not in message:
        return settings
    gateway = settings.gateway.model_copy(update={"listen": message["listen"]})
    return settings.model_copy(update={"gateway": gateway})


def zero_config(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration of an empty environment, or of one with OPENAI_* variables."""
    upstreams: dict[str, Any] = {
        ENGINE_NAME: {"engine": "llama.cpp", "model": environ.get("DRIFTGATE_MODEL", DEFAULT_MODEL)}
    }
    route: dict[str, Any] = {"split": {ENGINE_NAME: 1.0}}
    key, url = environ.get("OPENAI_API_KEY"), environ.get("OPENAI_BASE_URL")
    if key or url:
        upstreams["openai"] = {"url": url or "https://api.openai.com/v1", "api_key": key or None}
        route = {"split": {"openai": 1.0}, "fallback": [ENGINE_NAME]}
    return {"upstreams": upstreams, "routes": {"*": route}}


def _expand(value: Any, environ: Mapping[str, str], path: str, problems: list[str]) -> Any:
    if isinstance(value, dict):
        return {
            k: _expand(v, environ, f"{path}.{k}" if path else str(k), problems)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [_expand(v, environ, f"{path}[{i}]", problems) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def substitute(match: re.Match[str]) -> str:
        found = environ.get(match[1], match[2])
        if found is None:
            problems.append(
                f"`{path}` uses the environment variable `{match[1]}`, which is not set;"
                f" set it, or write `${{{match[1]}:-default}}`"
            )
        return found or ""

    return _VARIABLE.sub(substitute, value)


def _read_secret_files(settings: Settings, source: str) -> Settings:
    upstreams = dict(settings.upstreams)
    for name, upstream in upstreams.items():
        if upstream.api_key_file is None:
            continue
        key = f"`upstreams.{name}.api_key_file`"
        try:
            secret = Path(upstream.api_key_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([f"{key} cannot be read: {error}"], source=source) from error
        if not secret:
            problem = f"{key} names `{upstream.api_key_file}`, which is empty; write the key there"
            raise ConfigError([problem], source=source)
        update = {"api_key": secret, "api_key_file": None}
        try:
            upstreams[name] = upstream.model_validate({**upstream.model_dump(), **update})
        except ValidationError:
            problem = f"{key}: its content must be printable ASCII without spaces, in one line"
            # Not `from error`: its text shows the secret.
            raise ConfigError([problem], source=source) from None
    return settings.model_copy(update={"upstreams": upstreams})


def _yaml_problem(error: yaml.YAMLError) -> str:
    """Say what and where, without the line itself: it may hold a secret."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "is not YAML: it holds characters that YAML does not allow"
    return f"is not YAML: line {error.problem_mark.line + 1}: {error.problem}"


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe subset, without its silent last-one-wins for repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  (PyYAML's signature)
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=deep)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"key `{key}` is no text; put it in quotes", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key `{key}` stands twice in one mapping", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)
