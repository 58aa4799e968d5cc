import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_engine.config import DEFAULT_MODEL, EngineConfig
from local_engine.engine import Engine
from local_engine.models import ModelFile, model_places, resolve_model

CONFIG = EngineConfig(slots=4, context_tokens=256, threads=1, max_queue=4, embedding_tokens=64)


@pytest.fixture(scope="session")
def model_file() -> ModelFile:
    """Find the real, bundled model."""
    return resolve_model(DEFAULT_MODEL, model_places("unused", {}))


@pytest.fixture(scope="session")
def loaded(model_file: ModelFile) -> Iterator[Engine]:
    """Load one engine for all tests."""
    engine = Engine.load(CONFIG, model_file)
    yield engine
    assert engine.close()


@pytest.fixture
def engine(loaded: Engine) -> Iterator[Engine]:
    """Lend the engine and see that it comes back idle."""
    yield loaded
    deadline_s = time.monotonic() + 10
    while (numbers := loaded.statistics().scheduler).slots_busy + numbers.waiting:
        assert time.monotonic() < deadline_s, numbers
        time.sleep(0.005)


@pytest.fixture
def damaged(model_file: ModelFile, tmp_path: Path) -> Path:
    """Cut the model file in the middle."""
    path = tmp_path / "damaged.gguf"
    content = model_file.path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path
