"""Alarms: conditions that last become occurrences that are raised and cleared."""

from topologies.steps.alarm.alarm import Alarm

__all__ = ["Alarm"]
