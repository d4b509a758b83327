"""The schema as pydantic-settings wants it: to read variables with, loaded where one is set."""

from __future__ import annotations

from pydantic_settings import BaseSettings

from app.settings.model import Site


class Environment(Site, BaseSettings):  # type: ignore[misc]  # two kinds of model_config
    """A site from the environment."""
