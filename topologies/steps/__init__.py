"""The verbs: decode, validate, transform, extract, detect, alarm. One idea a file."""
