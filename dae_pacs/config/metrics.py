"""The settings of `/metrics`."""

from pydantic import BaseModel, ConfigDict, Field

from dae_pacs.config.fields import AbsolutePath


class MetricsSettings(BaseModel):
    """Figures for Prometheus, at `/metrics` on the console's port. They name no patient."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    enabled: bool = Field(default=True, description="Whether they are there at all.")
    token_file: AbsolutePath | None = Field(
        default=None,
        description="A file with a token and nothing else, which callers from other machines send as "
        "`Authorization: Bearer TOKEN`. It is read again at each call. Without it, only this machine itself "
        "gets figures, and it needs no token.",
    )
