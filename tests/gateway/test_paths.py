from pathlib import Path

import pytest

from gateway.paths import control_file, engine_socket, run_dir, spool_dir


def test_everything_lies_below_the_data_directory() -> None:
    """One directory holds all there is of a gateway."""
    directory = Path("/data")
    for path in (spool_dir(directory), run_dir(directory), control_file(directory)):
        assert path.is_relative_to(directory)
    assert engine_socket(directory) == Path("/data/run/engine.sock")


@pytest.mark.parametrize("name", ["x" * 90, "ü" * 50, "a/" * 60])
def test_long_directories_get_a_short_socket(name: str) -> None:
    """A socket's path fits the kernel's 107 bytes, however deep the data lies."""
    path = engine_socket(Path("/data") / name)
    assert len(str(path).encode()) <= 107
    assert path == engine_socket(Path("/data") / name)
    assert path != engine_socket(Path("/data") / (name + "y"))
