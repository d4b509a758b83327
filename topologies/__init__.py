"""Every plain module in this folder is a topology: it ends in a declaration called ``topology``."""
