"""Benchmarks: ratios against a peer in the same run. One command: ``make bench``."""
