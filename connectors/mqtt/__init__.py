"""The MQTT connector."""

from connectors.mqtt.connector import MqttConnector

__all__ = ["MqttConnector"]
