"""The embedded stack, for trying out and for tests: see `app.embedded.stack`."""

from app.embedded.datadir import Endpoints
from app.embedded.errors import StackError
from app.embedded.stack import EmbeddedStack, running_endpoints

__all__ = ["EmbeddedStack", "Endpoints", "StackError", "running_endpoints"]
