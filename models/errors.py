"""The error hierarchy, drawn first because everything else leans on it.

    PlantstreamError
    ├── ConfigError            what the user wrote is wrong                 exit code 2
    ├── DeclarationError       a topology or step contradicts itself        exit code 2
    ├── RecordError            one record cannot be processed               dead letter
    │   ├── MalformedRecord    its bytes are not what its schema promises
    │   ├── RecordTooLarge     an output or a state is over the size limit
    │   └── StepError          a step failed on it
    ├── StepFailed             a step with ``on_error = "fail"`` failed     exit code 1
    ├── SourceError            a device or broker of the site
    │   ├── SourceUnavailable  away for now: retried with backoff
    │   └── SourceRefused      will not work until somebody changes something
    ├── TransportError         Kafka (retried by the shells)
    └── StoreError             MongoDB (retried by the sink)
"""

from __future__ import annotations


class PlantstreamError(Exception):
    """Base of all errors that Plantstream raises on purpose."""

    exit_code = 1


class ConfigError(PlantstreamError):
    """Configuration is wrong: names the file, the field, the value and what is allowed."""

    exit_code = 2

    def __init__(
        self, message: str, *, file: str = "", field: str = "", value: object = ""
    ) -> None:
        self.file, self.field, self.value, self.message = file, field, value, message
        place = ": ".join(part for part in (file, field) if part)
        given = f" (got {value!r})" if value != "" else ""
        super().__init__(f"{place}: {message}{given}" if place else f"{message}{given}")


class DeclarationError(PlantstreamError):
    """A topology, stage or step contradicts itself."""

    exit_code = 2


class RecordError(PlantstreamError):
    """One record cannot be processed. It becomes a dead letter; the stream goes on."""

    reason = "record"


class MalformedRecord(RecordError):
    """The bytes of a record are not what its schema promises."""

    reason = "malformed"


class RecordTooLarge(RecordError):
    """An output or a state value is over the size that Kafka would take."""

    reason = "too-large"


class StepError(RecordError):
    """A step failed on a record."""

    reason = "step"


class StepFailed(PlantstreamError):
    """A step whose policy is ``fail`` failed: the worker stops rather than go on without it."""


class SourceError(PlantstreamError):
    """A device, server or broker of the site."""


class SourceUnavailable(SourceError):
    """The source is away; the runner retries with backoff."""


class SourceRefused(SourceError):
    """The source says no (credentials, unknown node): retrying alone will not help."""


class TransportError(PlantstreamError):
    """Kafka cannot do what was asked."""


class StoreError(PlantstreamError):
    """MongoDB cannot do what was asked."""
