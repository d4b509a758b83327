"""Dead letters: listing them, mending what is in them, and sending them through again."""

from app.redrive.choice import Choice
from app.redrive.letters import Letter, read_letters, whole
from app.redrive.mend import Mend, show_payload
from app.redrive.send import Redriver

__all__ = [
    "Choice",
    "Letter",
    "Mend",
    "Redriver",
    "read_letters",
    "show_payload",
    "whole",
]
