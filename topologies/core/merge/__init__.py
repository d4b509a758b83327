"""Merging stages: what waits for others, and in which order it goes on."""
