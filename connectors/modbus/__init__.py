"""The Modbus TCP connector."""

from connectors.modbus.connector import ModbusConnector

__all__ = ["ModbusConnector"]
