"""The code server of a container: `python -m stockpick_assets.services.code_server` becomes it.

It listens on every address, at the port of STOCKPICK_DAGSTER_CODE_SERVER. What does not belong here: what it preloads
(dagster.py), and the one of this machine, which `stockpick up` starts.
"""

import os

from stockpick_assets.services.dagster import WITHOUT_THREADS, CodeServer, code_server
from stockpick_assets.settings import Settings

if __name__ == "__main__":
    command = [*code_server("0.0.0.0", CodeServer().port(Settings.load()))]  # noqa: S104
    os.execve(command[0], command, os.environ | WITHOUT_THREADS)  # noqa: S606
