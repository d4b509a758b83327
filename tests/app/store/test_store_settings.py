"""Which store is used, that its password stays hidden, and what its errors mean."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from pymongo.errors import AutoReconnect, OperationFailure, ServerSelectionTimeoutError

from app.store import StoreSettings, address, connect
from app.store.failures import meaning, meaning_of_code
from models.errors import ConfigError

SECRET = "mongodb://user:geheim@db.site:27017/?authSource=admin"


def test_the_environment_wins_over_the_file_and_both_over_the_embedded_store() -> None:
    named = StoreSettings.model_validate({"uri": "mongodb://file"})
    assert address(named.resolved({"MONGODB_URI": SECRET}, "mongodb://embedded")) == "db.site:27017"
    assert address(named.resolved({}, "mongodb://embedded")) == "file"
    assert address(StoreSettings().resolved({}, "mongodb://embedded")) == "embedded"
    with pytest.raises(ConfigError, match="MONGODB_URI"):
        StoreSettings().resolved({})


def test_the_password_is_not_shown() -> None:
    settings = StoreSettings.model_validate({"uri": SECRET})
    assert "geheim" not in repr(settings) + str(settings.model_dump()) + address(settings)


@pytest.mark.parametrize("uri", ["localhost:27017", "http://x", ""])
def test_a_uri_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(ValidationError, match="begins with mongodb://"):
        StoreSettings.model_validate({"uri": uri})
    with pytest.raises(ConfigError, match="connection string"):
        connect(StoreSettings.model_validate({"uri": "mongodb://a:b:c@@"}), "test")


def test_options_of_the_uri_win() -> None:
    ours = connect(StoreSettings.model_validate({"uri": "mongodb://x"}), "test")
    theirs = connect(StoreSettings.model_validate({"uri": "mongodb://x/?w=1"}), "test")
    assert ours.write_concern.document == {"w": "majority"}
    assert theirs.write_concern.document == {"w": 1}
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AutoReconnect("gone"), "retry"),
        (ServerSelectionTimeoutError("nobody"), "retry"),
        (OperationFailure("not primary", 10107), "retry"),
        (OperationFailure("Authentication failed.", 18), "refused"),
        (OperationFailure("not authorized", 13), "refused"),
        (OperationFailure("key too long", 17280), "bad"),
    ],
)
def test_errors_that_pass_are_told_from_those_that_stay(error: Exception, expected: str) -> None:
    assert meaning(error) == expected  # type: ignore[arg-type]


def test_the_embedded_store_says_it_in_words() -> None:
    assert meaning_of_code(8, "database is locked") == "retry"
    assert meaning_of_code(8, "Object of type X is not JSON serializable") == "bad"
