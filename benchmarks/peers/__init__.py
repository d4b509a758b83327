"""The peers: the same windows as their own users would write them, each in a process of its own."""
