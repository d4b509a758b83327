"""``python -m app`` is the command ``plantstream``."""

from app.cli import main

if __name__ == "__main__":
    main()
