"""``[connector]``: what a site sets for all of its connectors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import SettingsError, load


def test_the_file_and_the_environment_set_them(tmp_path: Path) -> None:
    file = tmp_path / "plantstream.toml"
    file.write_text('[connector]\nstatus_interval = "500ms"\nbuffer_records = 10\n')
    changed = {"PLANTSTREAM__CONNECTOR__BUFFER_RECORDS": "20"}
    settings = load(file, environment=changed).site.connector
    assert (settings.status_interval, settings.buffer_records) == (500_000_000, 20)
    assert settings.drain == 10_000_000_000


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('drain = "soon"', "a duration is text such as"),
        ("buffer_record = 5", "buffer_records"),
        ('backoff_first = "1m"', "backoff_limit must be at least backoff_first"),
        ("record_bytes = 5000000", "1000000"),
    ],
)
def test_what_is_wrong_is_named(line: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "plantstream.toml"
    file.write_text(f"[connector]\n{line}\n")
    with pytest.raises(SettingsError) as refused:
        load(file, environment={})
    assert "plantstream.toml" in str(refused.value)
    assert "connector" in str(refused.value)
    assert said in str(refused.value)


def test_reading_them_loads_no_kafka_client() -> None:
    code = (
        "import sys, app.shells.connector_runner as shell; shell.RunnerSettings();"
        "sys.exit('confluent_kafka' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
