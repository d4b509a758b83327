"""Thin shells round the compiled functions of a topology: driver, worker, sink, connector runner."""
