"""What sections of the configuration have in common."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A strict, immutable section: unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
