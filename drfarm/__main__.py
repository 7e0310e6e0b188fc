"""``python -m drfarm``, and the command ``drfarm``."""

import sys

from drfarm.openmp import wait_briefly


def main() -> None:
    """Run the command; an interrupt while its libraries load ends as quietly as any later one."""
    wait_briefly()
    try:
        from drfarm.cli import main as run_command
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing had started\n")
        sys.exit(130)
    run_command()


if __name__ == "__main__":
    main()
