"""A connector in a process: ``python -m tests.connector_process JSON``.

The JSON holds ``name``, ``kind``, ``parameters``, ``kafka`` settings, and perhaps ``templates``,
``runner`` settings and ``log`` (a level).
"""

from __future__ import annotations

import json
import logging
import sys

from app.kafka import KafkaSettings
from app.shells.connector_runner import RunnerSettings, run_connector
from models.modbus import ModbusTemplate


def main(text: str) -> int:
    job = json.loads(text)
    logging.basicConfig(
        level=job.get("log", "INFO"), format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    templates = job.get("templates", {})
    return run_connector(
        job["name"],
        job["kind"],
        job["parameters"],
        kafka=KafkaSettings(**job["kafka"]),
        modbus_templates={
            name: ModbusTemplate.model_validate(each) for name, each in templates.items()
        },
        settings=RunnerSettings(**job.get("runner", {})),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
