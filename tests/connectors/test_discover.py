"""Connectors are found by their modules; what is wrong is said."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

import connectors
from connectors.base import Connector
from connectors.discover import find, find_all, kinds
from models.errors import ConfigError, DeclarationError


def test_finds_the_connectors_there_are() -> None:
    assert {"opcua", "modbus", "mqtt"} <= set(kinds())
    for kind, cls in find_all().items():
        assert issubclass(cls, Connector)
        assert cls.kind == kind
        assert cls.schema.id == f"raw-{kind}"


def test_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"modbus, mqtt, opcua.*\(got 'profibus'\)") as refused:
        find("profibus")
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("kind", ["base", "discover", "simulators", "../app", ""])
def test_other_modules_are_no_kinds(kind: str) -> None:
    with pytest.raises(ConfigError):
        find(kind)


def test_a_new_file_is_a_new_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connectors, "__path__", [*connectors.__path__, str(tmp_path)])
    (tmp_path / "serial.py").write_text(
        "from connectors.mqtt.connector import MqttConnector\n"
        "class SerialConnector(MqttConnector):\n    kind = 'serial'\n"
    )
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "misnamed.py").write_text(
        "from connectors.mqtt.connector import MqttConnector\n"
        "class SerialConnector(MqttConnector):\n    kind = 'serial'\n"
    )
    try:
        assert find("serial").__name__ == "SerialConnector"
        with pytest.raises(DeclarationError, match="holds 0 connectors"):
            find("empty")
        with pytest.raises(DeclarationError, match="kind = 'misnamed'"):
            find("misnamed")
    finally:
        for name in ("serial", "empty", "misnamed"):
            assert isinstance(sys.modules.pop(f"connectors.{name}", None), types.ModuleType | None)


def test_finding_a_kind_loads_no_other_protocol() -> None:
    import subprocess

    code = (
        "import sys; from connectors.discover import find; find('opcua'); find('modbus');"
        "assert 'paho' not in sys.modules and 'asyncua' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
