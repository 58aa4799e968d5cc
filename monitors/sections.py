"""What sections of the configuration have in common."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A strict, immutable section: unknown keys are errors, and NaN and infinity no numbers."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )
