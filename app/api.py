"""The public Python API: start, look at and stop a plant from code.

    from app.api import Plant

    with Plant("plantstream.toml", ["kafka.prefix=test."]) as plant:
        plant.start(print)
        print(plant.status().documents)

Leaving the block stops everything; so does the end of this process, however it ends.
"""

from __future__ import annotations

from app.embedded import StackError
from app.plant.plant import Plant, PlantError
from app.plant.status import ProcessStatus, Status, TopicStatus
from app.settings import Settings, SettingsError, load

__all__ = [
    "Plant",
    "PlantError",
    "ProcessStatus",
    "Settings",
    "SettingsError",
    "StackError",
    "Status",
    "TopicStatus",
    "load",
]
