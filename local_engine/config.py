"""Configuration of the embedded engine: section `engine`."""

from pydantic import BaseModel, ConfigDict, Field

DEFAULT_MODEL = "smollm2-135m-instruct"


class EngineConfig(BaseModel):
    """How the llama.cpp process runs. The model comes from the upstream that names the engine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True  # false: it is not started, its upstream takes nothing
    slots: int = Field(4, ge=1, le=64)  # requests decoded together
    context_tokens: int = Field(2048, ge=64)  # per slot
    threads: int | None = Field(None, ge=1)  # default: all cores but one
    gpu_layers: int = Field(-1, ge=-1)  # -1: all, when the build can offload
    max_queue: int = Field(64, ge=0)  # requests that may wait for a slot
    default_output_tokens: int = Field(256, ge=1)  # when a request sets no max_tokens
    batch_tokens: int = Field(128, ge=64, le=4096)  # one step; smaller: smoother streams
    embedding_tokens: int = Field(512, ge=16, le=4096)  # longest text that is embedded
    models_dir: str = "~/.cache/driftgate/models"  # where `hf:` models are downloaded
    memory_bytes: int | None = Field(None, ge=268_435_456)  # address space of the process
