"""Streams that meet: merging under another key, joins, and aggregates over assets."""

from topologies.steps.combine.aggregate import Aggregate
from topologies.steps.combine.as_of import AsOf
from topologies.steps.combine.merge import Merge

__all__ = ["Aggregate", "AsOf", "Merge"]
