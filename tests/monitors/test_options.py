from dataclasses import asdict, is_dataclass
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.cli.source import DEFAULT_GATEWAY
from gateway.config import GatewayConfig
from monitors.config import MonitorsConfig
from monitors.options import DEFAULTS


def test_defaults_are_those_of_the_configuration() -> None:
    """What holds without a file is what an empty section of a file says."""
    checked = MonitorsConfig().model_dump()
    assert set(checked) == set(DEFAULTS.__slots__)
    for name, value in checked.items():
        default = getattr(DEFAULTS, name)
        if is_dataclass(default) and not isinstance(default, type):
            default = asdict(default)
        assert default == value, name


@pytest.mark.parametrize(
    "section",
    [
        {"features": {"x": {"min": float("nan")}}},
        {"material": {"psi": float("inf")}},
        {"spend": {"usd_per_day": float("inf")}},
    ],
)
def test_what_is_no_number_is_refused(section: dict[str, Any]) -> None:
    """A limit of NaN, or of infinity, would switch off what it limits without a word."""
    with pytest.raises(ValidationError, match="finite number"):
        MonitorsConfig.model_validate(section)


def test_the_control_plane_is_looked_for_where_it_is() -> None:
    """Directory and address without a file are the configuration's defaults."""
    config = GatewayConfig()
    assert (DEFAULT_GATEWAY.data_dir, DEFAULT_GATEWAY.control) == (config.data_dir, config.control)
    assert DEFAULT_GATEWAY.key is None
    assert config.admin_key is None
