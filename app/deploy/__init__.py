"""What runs of each topology, written down on a topic: verdicts before a start, pause, reset."""
