"""A Postgres of one's own for as long as it is needed: below a temporary folder, reached by a socket in it."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy import create_engine, text


def _programs() -> Path:
    """The folder of Postgres' programs: the newest of Debian's, which are not on PATH, or that of PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = debian[-1] if debian else shutil.which("initdb")
    assert found, "no PostgreSQL here: install it (Debian: apt-get install postgresql)"
    return Path(found).resolve().parent


def _account() -> str:
    """Who it runs as: Postgres refuses to run as root."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid()).pw_name
    accounts = {account.pw_name for account in pwd.getpwall()}
    return "postgres" if "postgres" in accounts else "nobody"


@contextmanager
def cluster(synchronised: bool = False) -> Iterator[str]:
    """The address of a running, empty server, without a database's name; `synchronised`: whether it waits for disks."""
    account = _account()
    # pytest's own folders are closed to other accounts.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        if os.getuid() == 0:
            shutil.chown(folder, account)

        def run(program: str, *arguments: str) -> None:
            command = [str(_programs() / program), "--pgdata", f"{folder}/data", *arguments]
            done = subprocess.run(
                command,
                user=account if os.getuid() == 0 else None,
                group=pwd.getpwnam(account).pw_gid if os.getuid() == 0 else None,
                extra_groups=[] if os.getuid() == 0 else None,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"

        run("initdb", "--username=dagster", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")
        options = f"-k {folder} -c listen_addresses= -c fsync={'on' if synchronised else 'off'} -c max_connections=50"
        run("pg_ctl", "start", "--wait", "--silent", f"--options={options}", f"--log={folder}/log")
        try:
            yield f"postgresql+psycopg2://dagster@/{{database}}?host={folder}"
        finally:
            run("pg_ctl", "stop", "--wait", "--silent", "--mode=immediate")


def new_database(address: str) -> str:
    """The address of a new, empty database of the cluster at `address`."""
    name = f"events_{uuid4().hex}"
    server = create_engine(address.format(database="postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    server.dispose()
    return address.format(database=name)
