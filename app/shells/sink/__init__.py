"""The sink process: carries a topology's outputs to MongoDB, in a consumer group of its own."""

from app.shells.sink.run import run_sink
from app.shells.sink.stats import SinkStats
from app.store import OutputSpec, SinkSettings, StoreSettings

__all__ = ["OutputSpec", "SinkSettings", "SinkStats", "StoreSettings", "run_sink"]
