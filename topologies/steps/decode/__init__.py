"""decode: raw records of a protocol to blocks. One decoder a file."""

from topologies.steps.decode.blocks import Blocks
from topologies.steps.decode.modbus import Modbus
from topologies.steps.decode.mqtt import Mqtt
from topologies.steps.decode.opcua import OpcUa
from topologies.steps.decode.templates import MqttTemplate

__all__ = ["Blocks", "Modbus", "Mqtt", "MqttTemplate", "OpcUa"]
