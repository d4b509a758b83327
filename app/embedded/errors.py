"""The one error of the embedded stack."""


class StackError(Exception):
    """The embedded stack cannot do what was asked; the message says what, where and what to do."""
