"""The configuration that ``simulate --snippet`` prints reads what the simulator will play."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.app import application
from app.settings import Settings, load

TAGS = ["pressure", 'flow "rate", m³/h', "a.b"]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = tmp_path / "recording.csv"
    file.write_text(
        'time;pressure;"flow ""rate"", m³/h";a.b;note\n'
        "2013-12-02 21:15:00;1;2;3;x\n"
        "2013-12-02 21:15:02;1.5;2.5;;y\n"
    )
    return file


def printed(*words: str) -> str:
    done = CliRunner().invoke(application, ["simulate", *words, "--snippet"])
    assert done.exit_code == 0, done.output
    return done.stdout


def settled(text: str, folder: Path) -> Settings:
    file = folder / "snippet.toml"
    file.write_text(text)
    return load(file, environment={}, check=["connectors"])


@pytest.mark.parametrize(
    ("words", "address"),
    [
        (["opcua"], "opc.tcp://127.0.0.1:4840/plantstream/"),
        (["opcua", "--port", "48400"], "opc.tcp://127.0.0.1:48400/plantstream/"),
        (["modbus"], 5020),
        (["modbus", "--port", "1502"], 1502),
    ],
)
def test_it_is_good_configuration_with_the_simulator_s_address(
    words: list[str], address: object, recording: Path, tmp_path: Path
) -> None:
    text = printed(*words, "--trace", str(recording), "--asset", "glass/pump")
    settings = settled(text, tmp_path)
    _, parameters = settings.connector(f"glass-pump-{words[0]}")
    assert address in parameters.model_dump().values()
    assert list(settings.site.catalogue["glass/pump"].tags) == TAGS


def test_every_column_has_its_place_in_the_register_map(recording: Path, tmp_path: Path) -> None:
    text = printed("modbus", "--trace", str(recording), "--asset", "pump", "--speed", "2")
    fields = settled(text, tmp_path).site.modbus_templates["pump-modbus"].fields
    assert [(f.address, f.type, f.role) for f in fields.values()] == [
        (2, "int64", "time_ns"),
        (6, "float64", "value"), (10, "float64", "value"), (14, "float64", "value"),
    ]  # fmt: skip
    assert list(fields)[1:] == TAGS
    # A row stays for 2 s at twice the speed.
    (unit,) = tomllib.loads(text)["connectors"]["pump-modbus"]["units"]
    assert unit["interval"] == "250ms"


@pytest.mark.parametrize(
    ("pace", "interval"),
    [
        (["--speed", "max"], "10ms"),
        (["--speed", "100"], "10ms"),  # a row stays for 20 ms
        (["--speed", "20"], "25ms"),
        (["--speed", "0.1"], "1s"),
    ],
)
def test_no_more_polls_than_a_line_can_do(
    pace: list[str], interval: str, recording: Path
) -> None:
    text = printed("modbus", "--trace", str(recording), "--asset", "pump", *pace)
    (unit,) = tomllib.loads(text)["connectors"]["pump-modbus"]["units"]
    assert unit["interval"] == interval


def test_a_map_of_the_site_s_own_is_kept(recording: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(
        f"""
        [simulators.rig]
        kind = "modbus"
        trace = {{ path = "{recording.name}", asset = "pump", columns = ["pressure"] }}
        [[simulators.rig.assets]]
        name = "pump"
        unit = 9
        [simulators.rig.assets.fields]
        at = {{ address = 8, type = "uint64", source = "time_ms" }}
        pressure = {{ table = "input", address = 0, type = "int16", order = "BADC", scale = 0.5 }}
        """
    )
    done = CliRunner().invoke(
        application, ["--config", str(site), "simulate", "rig", "--snippet"]
    )
    assert done.exit_code == 0, done.output
    settings = settled(done.stdout, tmp_path)
    at, pressure = settings.site.modbus_templates["pump-modbus"].fields.values()
    assert (at.address, at.type, at.role) == (8, "uint64", "time_ms")
    assert (pressure.table, pressure.type, pressure.order) == ("input", "int16", "BADC")
    assert pressure.scale == 0.5
    (unit,) = tomllib.loads(done.stdout)["connectors"]["pump-modbus"]["units"]
    assert unit["unit"] == 9


def test_mqtt_needs_no_broker_to_say_what_to_subscribe_to(recording: Path, tmp_path: Path) -> None:
    text = printed("mqtt", "--trace", str(recording), "--asset", "glass/env/pump")
    settled(text, tmp_path)
    (subscription,) = tomllib.loads(text)["connectors"]["glass-env-pump-mqtt"]["subscriptions"]
    assert subscription["filter"] == subscription["asset"] == "glass/env/pump"
    assert "'flat'" in text


def test_a_simulator_without_a_recording_has_none(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(
        '[simulators.rig]\nkind = "opcua"\n'
        'assets = [{ name = "p", tags = { x = { kind = "switch" } } }]\n'
    )
    done = CliRunner().invoke(
        application, ["--config", str(site), "simulate", "rig", "--snippet"]
    )
    assert done.exit_code == 2
    assert "--trace" in done.output
