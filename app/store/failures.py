"""What an error of the store means: wait and repeat, give up, or a document that is bad.

Codes are those of MongoDB's ``error_codes.yml``, versions 6 to 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
)

#: ``retry``: the store is away or busy. ``refused``: it will not take anything until somebody
#: changes something. ``bad``: it does not take this.
Meaning = Literal["retry", "refused", "bad"]

DUPLICATE_KEY = 11000

_REFUSED = {
    13: "Unauthorized",
    18: "AuthenticationFailed",
    20: "IllegalOperation",
    33: "BadAuth",
    48: "NamespaceExists",
    73: "InvalidNamespace",
    79: "UnknownReplWriteConcern",
    100: "UnsatisfiableWriteConcern",
    166: "CommandNotSupportedOnView",
    8000: "AtlasError",
}
_RETRY = {
    6: "HostUnreachable",
    7: "HostNotFound",
    43: "CursorNotFound",
    50: "MaxTimeMSExpired",
    63: "StaleShardVersion",
    64: "WriteConcernFailed",
    89: "NetworkTimeout",
    91: "ShutdownInProgress",
    112: "WriteConflict",
    133: "FailedToSatisfyReadPreference",
    134: "ReadConcernMajorityNotAvailableYet",
    150: "StaleEpoch",
    189: "PrimarySteppedDown",
    202: "NetworkInterfaceExceededTimeLimit",
    246: "SnapshotUnavailable",
    262: "ExceededTimeLimit",
    290: "TransactionExceededLifetimeLimitSeconds",
    317: "ConnectionPoolExpired",
    384: "ConnectionError",
    462: "IngressRequestRateLimitExceeded",
    9001: "SocketException",
    10058: "LegacyNotPrimary",
    10107: "NotWritablePrimary",
    11600: "InterruptedAtShutdown",
    11601: "Interrupted",
    11602: "InterruptedDueToReplStateChange",
    13388: "StaleConfig",
    13435: "NotPrimaryNoSecondaryOk",
    13436: "NotPrimaryOrSecondary",
    14031: "OutOfDiskSpace",
}
#: The embedded store gives all of SQLite's errors one code (8); these pass.
_PASSING = ("database is locked", "disk i/o error", "disk is full", "unable to open database")


def meaning(error: PyMongoError) -> Meaning:
    """What an error of a whole command means. ``bad`` may also be one document in it."""
    if isinstance(error, (ConfigurationError, InvalidURI)):
        return "refused"
    if isinstance(error, OperationFailure):
        found = meaning_of_code(error.code or 0, str(error.details or error))
        if found == "bad" and error.has_error_label("RetryableWriteError"):
            return "retry"
        return "retry" if isinstance(error, ExecutionTimeout) else found
    if isinstance(error, (AutoReconnect, ConnectionFailure, WaitQueueTimeoutError)):
        return "retry"
    return "bad"


def meaning_of_code(code: int, message: str) -> Meaning:
    """What an error code means, of a command or of one write in it."""
    if code in _RETRY:
        return "retry"
    if code in _REFUSED:
        return "refused"
    if code == 8 and any(text in message.lower() for text in _PASSING):
        return "retry"
    return "bad"


def reason(error: BaseException | Mapping[str, Any]) -> str:
    """One line that says what the store said, without addresses of its innards."""
    if isinstance(error, Mapping):
        text = str(error.get("errmsg", ""))
    elif isinstance(error, OperationFailure):
        text = str((error.details or {}).get("errmsg") or error)
    else:
        text = str(error).split(", Timeout:")[0]
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return first[:300]
