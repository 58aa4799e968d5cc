import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from gateway.cli.check import check, schema_text, summary
from gateway.cli.init import STARTING_FILE, init
from gateway.config import Settings
from gateway.config_source import Source, find_config
from gateway.errors import ConfigError
from gateway.settings import (
    load_settings,
    parse_settings,
    settings_from_text,
    zero_config,
)

CONFIGS = Path(__file__).parent / "configs"
REFUSED = sorted(CONFIGS.glob("*.yaml"))
GOOD = sorted((CONFIGS / "good").glob("*.yaml"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "driftgate.yaml"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
UPSTREAM = "upstreams: {a: {url: 'http://127.0.0.1:9000/v1'%s}}\nroutes: {chat: {split: {a: 1}}}\n"


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_a_mistake_is_told_in_one_sentence(path: Path) -> None:
    """Each mistake is refused with the sentence in its file's first line, and no other."""
    expected = path.read_text().partition("\n")[0].removeprefix("# ")
    with pytest.raises(ConfigError) as refusal:
        load_settings(Source(path), {})
    (problem,) = refusal.value.problems
    assert problem.startswith(expected)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_file_is_taken(path: Path) -> None:
    """What looks unusual and is right is taken."""
    settings = load_settings(Source(path), {})
    assert summary(settings)


def test_the_example_is_good() -> None:
    """The example takes its secrets from the environment and uses every section."""
    environ = {"OPENAI_API_KEY": "sk-1", "WEBHOOK_SECRET": WEBHOOK_SECRET}
    settings = load_settings(Source(EXAMPLE), environ)
    assert settings.upstreams["primary"].api_key is not None
    assert set(Settings.model_fields) == set(yaml.safe_load(EXAMPLE.read_text()))


def test_every_problem_is_told_at_once() -> None:
    """Two mistakes are two sentences."""
    text = "upstreams: {a: {engine: vllm}}\nroutes: {chat: {splt: {a: 1}}}\n"
    with pytest.raises(ConfigError) as refusal:
        settings_from_text(text, {}, source="test.yaml")
    assert len(refusal.value.problems) == 3
    assert "did you mean `split`?" in str(refusal.value)


def test_an_override_of_a_merged_key_wins() -> None:
    """A key beside `<<` is not taken for the same key twice."""
    settings = load_settings(Source(CONFIGS / "good" / "anchors.yaml"), {})
    assert settings.upstreams["a"].max_connections == 8
    assert settings.upstreams["b"].max_connections == 16


def test_variables_are_put_in() -> None:
    """A variable of the environment stands for its value, within a longer text too."""
    text = UPSTREAM % ", api_key: 'sk-${PART}-${OTHER:-2}'"
    settings = settings_from_text(text, {"PART": "1"}, source="test.yaml")
    key = settings.upstreams["a"].api_key
    assert key is not None
    assert key.get_secret_value() == "sk-1-2"


def test_the_values_of_variables_are_not_expanded_again() -> None:
    """A secret that looks like a variable stays as it is."""
    settings = settings_from_text(
        UPSTREAM % ", api_key: '${KEY}'", {"KEY": "${HOME}", "HOME": "/"}, source="test.yaml"
    )
    key = settings.upstreams["a"].api_key
    assert key is not None
    assert key.get_secret_value() == "${HOME}"


def test_a_secret_is_read_from_its_file(tmp_path: Path) -> None:
    """`api_key_file` gives the key, without the newline that editors add."""
    (tmp_path / "key").write_text("sk-file\n")
    text = UPSTREAM % f", api_key_file: '{tmp_path / 'key'}'"
    settings = settings_from_text(text, {}, source="test.yaml")
    key = settings.upstreams["a"].api_key
    assert key is not None
    assert key.get_secret_value() == "sk-file"


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe", b"sk-one\nsk-two\n"])
def test_a_useless_secret_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A secret file without a key, or that is no text, names its setting."""
    (tmp_path / "key").write_bytes(content)
    text = UPSTREAM % f", api_key_file: '{tmp_path / 'key'}'"
    with pytest.raises(ConfigError, match=r"`upstreams\.a\.api_key_file`"):
        settings_from_text(text, {}, source="test.yaml")


@pytest.mark.parametrize(
    "text",
    [
        UPSTREAM % ", api_key: [hunter2]",
        UPSTREAM % ", api_key: hunter2, api_key_file: /dev/null",
        UPSTREAM % ", headers: {authorization: {hunter2: 1}}",
        UPSTREAM % ", headers: [hunter2]",
        UPSTREAM % "" + "gateway: {admin_key: {hunter2: 1}}",
        UPSTREAM % "" + "gateway: {keys: [{name: a, sha256: hunter2}]}",
        UPSTREAM % "" + "gateway: {keys: [hunter2]}",
        UPSTREAM % "" + "alerts: [{webhook: {url: 'https://h', secret: hunter2}}]",
        UPSTREAM % "" + "alerts: [{webhook: 'https://h/hunter2'}]",
        UPSTREAM % "" + "alerts: [{webhook: {url: 'ftp://h/hunter2', secret_file: /x}}]",
        "upstreams: {a: {url: 'http://me:hunter2@h'}}\nroutes: {chat: {split: {a: 1}}}",
        "upstreams: {a: {url: 'http://h/v1?key=hunter2'}}\nroutes: {chat: {split: {a: 1}}}",
        UPSTREAM % ", api_key: hunter2, api_key: hunter2",
        "upstreams: {a: {api_key: hunter2 ]}}",
    ],
)
def test_no_message_shows_a_secret(text: str) -> None:
    """A refusal names the place of a secret and keeps the secret."""
    with pytest.raises(ConfigError) as refusal:
        settings_from_text(text, {}, source="test.yaml")
    assert "hunter2" not in str(refusal.value)


def test_no_printed_configuration_shows_a_secret() -> None:
    """Neither `repr` nor the summary of good settings shows a secret."""
    text = UPSTREAM % ", api_key: hunter2" + (
        f"gateway: {{admin_key: hunter2}}\n"
        f"alerts: [{{webhook: {{url: 'https://h/hunter2', secret: {WEBHOOK_SECRET}}}}}]\n"
    )
    settings = settings_from_text(text, {}, source="test.yaml")
    assert "hunter2" not in summary(settings)
    assert "api_key=SecretStr('**********')" in repr(settings)


def test_without_a_file_the_engine_answers_every_name() -> None:
    """An empty environment is a configuration: the embedded engine behind `*`."""
    settings = parse_settings(zero_config({}), source="the environment")
    assert settings.engine_upstream is not None
    assert settings.routes["*"].split == {"local": 1.0}


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"OPENAI_API_KEY": "sk-1"}, "https://api.openai.com/v1"),
        ({"OPENAI_BASE_URL": "http://10.0.0.5:8000/v1"}, "http://10.0.0.5:8000/v1"),
    ],
)
def test_without_a_file_the_variables_of_openai_name_the_upstream(
    environ: dict[str, str], url: str
) -> None:
    """The variables that clients read are enough; the engine answers while that server fails."""
    settings = parse_settings(zero_config(environ), source="the environment")
    assert settings.upstreams["openai"].url == url
    assert settings.routes["*"].split == {"openai": 1.0}
    assert settings.routes["*"].fallback == ("local",)


def test_files_are_looked_for_in_order(tmp_path: Path) -> None:
    """`--config` comes before the variable, the folder's file, the user's file, the environment."""
    work, home = tmp_path / "work", tmp_path / "home"
    paths = [
        tmp_path / "explicit.yaml",
        tmp_path / "variable.yaml",
        work / "driftgate.yaml",
        home / ".config" / "driftgate" / "driftgate.yaml",
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    variable = {"DRIFTGATE_CONFIG": str(paths[1])}
    assert find_config(str(paths[0]), variable, work, home).path == paths[0]
    assert find_config(None, variable, work, home).path == paths[1]
    assert find_config(None, {}, work, home).path == paths[2]
    paths[2].unlink()
    assert find_config(None, {}, work, home).path == paths[3]
    paths[3].unlink()
    assert find_config(None, {}, work, home).path is None


@pytest.mark.parametrize("origin", ["--config", "$DRIFTGATE_CONFIG"])
def test_a_named_file_must_exist(tmp_path: Path, origin: str) -> None:
    """A file that was named and is not there is an error that says who named it."""
    missing = str(tmp_path / "none.yaml")
    explicit, environ = (
        (missing, {}) if origin == "--config" else (None, {"DRIFTGATE_CONFIG": missing})
    )
    with pytest.raises(ConfigError) as refusal:
        find_config(explicit, environ, tmp_path, tmp_path)
    assert origin in str(refusal.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are told, not thrown."""
    path = tmp_path / "driftgate.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(Source(path), {})


def test_check_says_what_a_file_comes_to() -> None:
    """The verdict goes to stderr, what it comes to goes to stdout."""
    result = CliRunner().invoke(check, [str(CONFIGS / "good" / "smallest.yaml")])
    assert "smallest.yaml is good: 1 upstream, 1 route" in result.stderr
    assert "upstream  a            http://127.0.0.1:9000/v1, model as asked" in result.stdout


def test_check_exits_2_with_the_problems() -> None:
    """`monitor check` of a wrong file prints the problem on stderr, and nothing on stdout."""
    result = subprocess.run(
        [sys.executable, "-m", "driftgate", "check", str(CONFIGS / "workers-zero.yaml")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert "`gateway.workers` is `0`: must be 1 or more" in result.stderr


def test_the_schema_names_every_section() -> None:
    """The schema is closed, takes durations as text, and hides names that are keys."""
    schema = msgspec.json.decode(schema_text())
    assert set(schema["properties"]) == set(Settings.model_fields)
    assert schema["additionalProperties"] is False
    idle = schema["$defs"]["Timeouts"]["properties"]["idle"]
    assert {"type": "string"} in idle["anyOf"]
    assert "name" not in schema["$defs"]["UpstreamConfig"]["properties"]


def test_init_writes_a_good_file(tmp_path: Path) -> None:
    """The starting file is good as it stands, in an empty environment."""
    path = tmp_path / "driftgate.yaml"
    result = CliRunner().invoke(init, ["--output", str(path)])
    assert "wrote" in result.stderr
    assert load_settings(Source(path), {}).engine_upstream is not None


def test_every_suggestion_of_the_starting_file_is_good() -> None:
    """Its commented lines are settings too: without their `# ` the file is still good."""
    lines = []
    for line in STARTING_FILE.splitlines()[4:]:
        indent, comment, rest = line.partition("# ")
        lines.append(indent + rest if comment and not indent.strip() else line)
    text = "\n".join(lines).replace('"..."', f'"{"0" * 64}"').replace("alerts: []", "alerts:")
    environ = {"OPENAI_API_KEY": "sk-1", "WEBHOOK_SECRET": WEBHOOK_SECRET}
    settings = settings_from_text(text, environ, source="test.yaml")
    assert set(settings.upstreams) == {"primary", "candidate", "local"}
    assert settings.routes["*"].fallback == ("candidate", "local")
    assert len(settings.alerts) == 2


def test_init_keeps_a_file_unless_forced(tmp_path: Path) -> None:
    """A file that is there is only replaced when told so."""
    path = tmp_path / "driftgate.yaml"
    path.write_text("mine")
    refused = CliRunner().invoke(init, ["--output", str(path)])
    assert refused.exit_code == 2
    assert path.read_text() == "mine"
    CliRunner().invoke(init, ["--output", str(path), "--force"])
    assert path.read_text() == STARTING_FILE
