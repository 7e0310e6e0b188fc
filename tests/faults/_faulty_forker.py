"""A process that has imported the command, and forks one for each line of words that it is given: those start at once.

Run as a script. It imports nothing but the standard library before that: processes that it starts may run it again.
"""

import json
import os
import sys
import tempfile


def serve() -> None:
    import bokeh.plotting  # noqa: F401 - this and more is imported once, for all
    import itables  # noqa: F401
    import matplotlib.backends.backend_pdf  # noqa: F401
    import matplotlib.pyplot as plt  # noqa: F401
    import pyarrow.dataset  # noqa: F401
    import torch  # noqa: F401

    import aggregate  # noqa: F401
    import drfarm.blocks
    import drfarm.farm.serve
    from drfarm import cli, reporting, running  # noqa: F401
    from drfarm.farm import run
    from drfarm.farm._deadline import Pace

    run.NETWORK_LEAST_S = Pace.__init__.__kwdefaults__["least_s"] = float(os.environ["FAULTY_HANG_S"])
    drfarm.blocks.TARGET_S = float(os.environ["FAULTY_BLOCK_S"])
    for line in sys.stdin:
        asked = json.loads(line)
        if "words" in asked:
            answer = os.fork()
            if not answer:
                _become(asked)
                cli.main()
        else:
            pid, status = os.waitpid(asked["pid"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        print(json.dumps(answer), flush=True)


def _become(asked: dict) -> None:
    """Be a process that a shell has just started: a session, an output, an environment and a name of its own."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(asked["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(null, 0)
    for number in (1, 2):
        os.dup2(out, number)
    os.environ.update(asked["environment"])
    tempfile.tempdir = None
    os.chdir(asked["folder"])
    sys.argv = ["drfarm", *asked["words"]]


if __name__ == "__main__":
    serve()
