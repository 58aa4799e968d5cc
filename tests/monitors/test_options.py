from dataclasses import fields, is_dataclass

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
        if is_dataclass(default):
            default = {field.name: getattr(default, field.name) for field in fields(default)}
        assert default == value, name


def test_the_control_plane_is_looked_for_where_it_is() -> None:
    """Directory and address without a file are the configuration's defaults."""
    config = GatewayConfig()
    assert (DEFAULT_GATEWAY.data_dir, DEFAULT_GATEWAY.control) == (config.data_dir, config.control)
    assert DEFAULT_GATEWAY.key is None
    assert config.admin_key is None
