"""validate: every sample gets a QARTOD flag, and bits that say why. One test a file."""

from topologies.steps.validate.qartod import Qartod
from topologies.steps.validate.why import TESTS, explain

__all__ = ["TESTS", "Qartod", "explain"]
