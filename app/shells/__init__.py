"""Thin shells round a topology's functions: driver, worker, sink, connector runner."""
