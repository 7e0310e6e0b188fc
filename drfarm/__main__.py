"""``python -m drfarm``."""

from drfarm.cli import main

if __name__ == "__main__":
    main()
