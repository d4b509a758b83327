"""A site's configuration: one file, with environment and flags over it.

    settings = load(Path("plantstream.toml"), ["log.level=debug"], check=ALL)
    settings.site.kafka.partitions
"""

from app.settings.model import EMBEDDED, ConnectorEntry, Site, TopologyEntry
from app.settings.problems import SettingsError
from app.settings.settings import ALL, Part, Settings, load

__all__ = [
    "ALL",
    "EMBEDDED",
    "ConnectorEntry",
    "Part",
    "Settings",
    "SettingsError",
    "Site",
    "TopologyEntry",
    "load",
]
