"""Configuration of alert channels: section `alerts`."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from monitors.alerts.address import check_url
from monitors.alerts.signing import parse_secrets
from monitors.sections import Frozen
from router.duration_text import parse_duration_s

ReceiverUrl = Annotated[str, AfterValidator(check_url)]

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
LONGEST_GROUP_WAIT_S = 3600.0
SHORTEST_REMIND_S = 300.0
LONGEST_REMIND_S = 30 * 86_400.0
HUMAN_GROUP_WAIT_S = 5.0
"""Time in which what opens together becomes one message for people."""


def _seconds(value: object) -> object:
    return parse_duration_s(value) if isinstance(value, str) else value


Wait = Annotated[
    float,
    BeforeValidator(_seconds, json_schema_input_type=float | str),
    Field(ge=0, le=LONGEST_GROUP_WAIT_S),
]
"""Seconds, none included."""

Remind = Annotated[
    float,
    BeforeValidator(_seconds, json_schema_input_type=float | str),
    Field(ge=SHORTEST_REMIND_S, le=LONGEST_REMIND_S),
]
"""Seconds."""

Section = TypeVar("Section", bound=Frozen)


def _exactly_one(section: Section, *names: str) -> Section:
    if sum(getattr(section, name) is not None for name in names) != 1:
        *head, last = (f"`{name}`" for name in names)
        raise ValueError(f"needs exactly one of {', '.join(head)} and {last}")
    return section


def _secret_url(url: SecretStr) -> SecretStr:
    check_url(url.get_secret_value())
    return url


class WebhookConfig(Frozen):
    """A Standard Webhooks receiver."""

    url: ReceiverUrl  # gets a POST of each event
    secret: SecretStr | None = None  # `whsec_...`; while it changes the new and the old, by comma
    secret_file: str | None = None  # instead of `secret`: a file that holds it, read at each try
    allow_private: bool = False  # loopback and private addresses are refused unless allowed

    @field_validator("secret")
    @classmethod
    def _signs(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            parse_secrets(secret.get_secret_value())
        return secret

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        return _exactly_one(self, "secret", "secret_file")


class AlertmanagerConfig(Frozen):
    """A Prometheus Alertmanager, by its base URL."""

    url: ReceiverUrl  # base, without /api/v2/alerts
    allow_private: bool = True  # it usually stands on this network


class SlackConfig(Frozen):
    """An incoming webhook of Slack, or of what understands the same."""

    url: Annotated[SecretStr, AfterValidator(_secret_url)] | None = None  # its path is the secret
    url_file: str | None = None  # instead of `url`: a file that holds it, read at each try
    allow_private: bool = False  # loopback and private addresses are refused unless allowed

    @model_validator(mode="after")
    def _one_url(self) -> Self:
        return _exactly_one(self, "url", "url_file")


class PagerDutyConfig(Frozen):
    """A service of PagerDuty, by its integration of Events API v2."""

    routing_key: SecretStr | None = None  # integration key
    routing_key_file: str | None = None  # instead: a file that holds it, read at each try
    url: ReceiverUrl = PAGERDUTY_URL  # in Europe https://events.eu.pagerduty.com/v2/enqueue
    allow_private: bool = False  # loopback and private addresses are refused unless allowed

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        return _exactly_one(self, "routing_key", "routing_key_file")


class AppriseConfig(Frozen):
    """Any service that the library Apprise knows: needs the extra `notify`."""

    url: SecretStr | None = None  # such as `mailto://...`; tokens stand in it
    url_file: str | None = None  # instead of `url`: a file that holds it, read at each try
    allow_private: bool = False  # loopback and private addresses are refused unless allowed

    @model_validator(mode="after")
    def _one_url(self) -> Self:
        return _exactly_one(self, "url", "url_file")


ChannelKind = Literal["webhook", "alertmanager", "slack", "pagerduty", "apprise"]
KINDS: tuple[ChannelKind, ...] = ("webhook", "alertmanager", "slack", "pagerduty", "apprise")
ALERT_KINDS = ("drift", "quality", "slo", "spend", "performance", "rollout")
"""What alerts can be about."""
_GROUPED = frozenset({"webhook", "slack", "apprise"})


class ChannelConfig(Frozen):
    """One destination: exactly one of the first five keys, and what it is told."""

    webhook: WebhookConfig | None = None
    alertmanager: AlertmanagerConfig | None = None
    slack: SlackConfig | None = None
    pagerduty: PagerDutyConfig | None = None
    apprise: AppriseConfig | None = None
    min_severity: Literal["warning", "critical"] = "warning"  # critical: lesser alerts are not told
    kinds: tuple[str, ...] = ()  # such as [drift, slo]; empty: all
    group_wait: Wait | None = (
        None  # such as `1m`: what comes in it is one message; `5s` for slack, apprise
    )

    remind: Remind | None = None  # such as `24h`: what is open that long is told again; else never

    @property
    def kind(self) -> ChannelKind:
        """The key that is set."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def group_wait_s(self) -> float:
        """Seconds between an event and its first try."""
        if self.group_wait is not None:
            return self.group_wait
        return HUMAN_GROUP_WAIT_S if self.kind in {"slack", "apprise"} else 0.0

    @property
    def groups(self) -> bool:
        """Whether several alerts may be one message."""
        return self.kind in _GROUPED and self.group_wait_s > 0

    @field_validator("kinds")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in kinds:
            if not any(fnmatchcase(kind, pattern) for kind in ALERT_KINDS):
                raise ValueError(f"`{pattern}` is none of {', '.join(ALERT_KINDS)}")
        return kinds

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        _exactly_one(self, *KINDS)
        if self.group_wait and self.kind not in _GROUPED:
            raise ValueError(
                f"`group_wait` cannot be set for `{self.kind}`, which groups alerts itself;"
                " leave it out"
            )
        if self.remind and self.kind not in _GROUPED:
            raise ValueError(
                f"`remind` cannot be set for `{self.kind}`, which reminds of what is open itself;"
                " leave it out"
            )
        return self


def read_secret(secret: SecretStr | None, file: str | None) -> str:
    """Return a secret; a file is read at each try, so that a new one needs no reload."""
    if secret is not None:
        return secret.get_secret_value()
    assert file is not None
    return Path(file).read_text(encoding="utf-8").strip()
