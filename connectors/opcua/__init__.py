"""The OPC UA connector."""

from connectors.opcua.connector import OpcUaConnector

__all__ = ["OpcUaConnector"]
