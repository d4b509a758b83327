"""Pure models: records, quality, time, catalogue and detectors. No I/O, no Kafka, no settings."""
