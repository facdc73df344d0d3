"""``python -m regionfer`` is the command ``regionfer``."""

from regionfer.cli import main

if __name__ == "__main__":
    main(prog_name="regionfer")
