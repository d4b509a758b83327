"""Detectors: each gives every number a score, a threshold and, where asked, a reason."""

from topologies.steps.detect.ewma import Ewma
from topologies.steps.detect.forest import IsolationForest
from topologies.steps.detect.limits import Limits
from topologies.steps.detect.robust import RobustZ
from topologies.steps.detect.silence import Silence

__all__ = ["Ewma", "IsolationForest", "Limits", "RobustZ", "Silence"]
