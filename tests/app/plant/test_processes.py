"""Exit codes of a site's processes: a supervisor starts again what ended with another than 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.plant.processes import run_watchdog
from app.settings import load


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_watchdog_that_breaks_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a fault of our own")

    monkeypatch.setattr("app.shells.connector_runner.watchdog.Watchdog._watch", broken)
    file = tmp_path / "site.toml"
    file.write_text('[kafka]\nbootstrap = "127.0.0.1:1"\n')
    settings = load(file, [f"data_dir={tmp_path}"])
    assert run_watchdog(settings) == 1
