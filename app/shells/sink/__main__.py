"""``python -m app.shells.sink`` with a JSON job on standard input: a sink without the rest.

For tests and for supervisors that keep no configuration file. The job has the fields of `Job`.
"""

from __future__ import annotations

import logging
import sys

from pydantic import BaseModel, ConfigDict, ValidationError

from app.kafka import KafkaSettings
from app.shells.sink import OutputSpec, SinkSettings, StoreSettings, run_sink


class Job(BaseModel):
    """What a sink needs to know."""

    model_config = ConfigDict(extra="forbid")

    topology: str
    version: int = 1
    outputs: list[OutputSpec]
    kafka: KafkaSettings
    store: StoreSettings
    sink: SinkSettings = SinkSettings()
    log: str = "INFO"


def main() -> int:
    """Exit code of the sink; 2 for a job that is none."""
    try:
        job = Job.model_validate_json(sys.stdin.read())
    except ValidationError as error:
        print(f"sink: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(level=job.log, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return run_sink(
        job.topology, job.version, job.outputs, kafka=job.kafka, store=job.store, sink=job.sink
    )


if __name__ == "__main__":
    sys.exit(main())
