"""Who wins: flags over environment over .env over the file over defaults."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import load
from tests.conftest import ROOT


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "plantstream.toml"
    file.write_text('[kafka]\nbootstrap = "file:1"\npartitions = 2\nprefix = "a."\n')
    return file


def test_each_layer_goes_over_the_one_before(file: Path) -> None:
    dotenv = file.with_name(".env")
    assert load(file, environment={}).site.kafka.bootstrap == "file:1"

    dotenv.write_text("PLANTSTREAM__KAFKA__BOOTSTRAP=dotenv:1\nOTHER=1\n")
    assert load(file, environment={}).site.kafka.bootstrap == "dotenv:1"

    environment = {"PLANTSTREAM__KAFKA__BOOTSTRAP": "env:1"}
    assert load(file, environment=environment).site.kafka.bootstrap == "env:1"

    site = load(file, ["kafka.bootstrap=flag:1"], environment=environment).site
    assert site.kafka.bootstrap == "flag:1"
    assert (site.kafka.partitions, site.kafka.prefix) == (2, "a.")
    assert site.kafka.replication == 1


def test_values_of_the_environment_take_their_types(file: Path) -> None:
    environment = {
        "PLANTSTREAM__KAFKA__PARTITIONS": "8",
        "PLANTSTREAM__METRICS__ENABLED": "false",
        "PLANTSTREAM__KAFKA__OPTIONS": '{"security.protocol": "SSL"}',
        "PLANTSTREAM__TOPOLOGIES__GLASS__WORKERS": "3",
        "PLANTSTREAM__WORKER__COMMIT_INTERVAL": "200ms",
    }
    site = load(file, environment=environment).site
    assert site.kafka.partitions == 8
    assert site.metrics.enabled is False
    assert site.kafka.options == {"security.protocol": "SSL"}
    assert site.topologies["glass"].workers == 3
    assert site.worker.commit_interval == 200_000_000


def test_flags_take_keys_and_values_as_toml_does(file: Path) -> None:
    flags = [
        'catalogue."glass/furnace".tags.crown.unit=K',
        'catalogue."glass/furnace".tags.crown.max_gap=10s',
        'kafka.options={ "ssl.ca.location" = "/etc/ca.pem" }',
        "site=2024-01-01",
        "log.level = debug",
    ]
    site = load(file, flags, environment={}).site
    tag = site.catalogue["glass/furnace"].tags["crown"]
    assert (tag.unit, tag.max_gap) == ("K", 10_000_000_000)
    assert site.kafka.options == {"ssl.ca.location": "/etc/ca.pem"}
    assert site.site == "2024-01-01"


def test_mongodb_uri_names_the_store(file: Path) -> None:
    secret = "mongodb://plant:hunter2@db"
    site = load(file, environment={"MONGODB_URI": secret}).site
    assert site.store.uri is not None
    assert site.store.uri.get_secret_value() == secret
    assert "hunter2" not in repr(site)
    file.with_name(".env").write_text(f"MONGODB_URI={secret}\n")
    assert load(file, environment={}).site.store.uri == site.store.uri


def test_secrets_come_by_environment(file: Path) -> None:
    site = load(file, environment={"PLANTSTREAM__KAFKA__PASSWORD": "hunter2"}).site
    assert site.kafka.connection()["sasl.password"] == "hunter2"


def test_json_of_the_same_schema(tmp_path: Path) -> None:
    file = tmp_path / "site.json"
    file.write_text(json.dumps({"kafka": {"bootstrap": "json:1"}}))
    assert load(file, environment={}).site.kafka.bootstrap == "json:1"


def test_relative_paths_start_at_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = "[simulators.s]\nkind = 'mqtt'\ntrace = { path = 'rec.csv', asset = 'a' }\n"
    file.write_text("data_dir = 'data'\n" + trace)
    elsewhere = file.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    settings = load(Path("../plantstream.toml"), environment={})
    assert settings.data_dir.resolve() == (file.parent / "data").resolve()
    found = settings.site.simulators["s"].trace
    assert found is not None
    assert found.path.resolve() == (file.parent / "rec.csv").resolve()
    # … but what is said on the command line starts where one stands
    settings = load(Path("../plantstream.toml"), ["data_dir=here"], environment={})
    assert settings.data_dir.resolve() == (elsewhere / "here").resolve()


def test_without_a_file_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(environment={})
    assert settings.site.kafka.bootstrap == "embedded"
    assert settings.data_dir == tmp_path / ".plantstream"


def test_the_file_may_be_named_by_a_variable(file: Path) -> None:
    settings = load(environment={"PLANTSTREAM_CONFIG": str(file)})
    assert settings.site.kafka.bootstrap == "file:1"


def test_settings_load_no_library_of_a_process() -> None:
    """Every process reads them: those it does not use cost memory and seconds of start."""
    code = (
        "import sys; from app.settings import load; load(environment={});"
        "heavy = 'quixstreams', 'pymongo', 'sklearn', 'asyncua', 'pymodbus', 'paho', 'typer';"
        "print([m for m in heavy if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"
