"""`require` and the lock file keep their promises."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT, require


def test_missing_part_is_skipped_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    require(True, "there")
    monkeypatch.delenv("PLANTSTREAM_CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no mosquitto"):
        require(False, "no mosquitto")
    monkeypatch.setenv("PLANTSTREAM_CI", "1")
    with pytest.raises(pytest.fail.Exception, match="no mosquitto"):
        require(False, "no mosquitto")


def test_every_locked_package_has_hashes_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash)", text, re.MULTILINE)
    packages = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(packages) > 50
    without = [p.splitlines()[0] for p in packages if "--hash=sha256:" not in p]
    assert without == []


def test_lock_covers_the_declared_dependencies() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    names = {re.split(r"[<>=!~\[; ]", line)[0].lower().replace("_", "-") for line in declared}
    locked = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
    assert names <= locked
