"""A Postgres of one's own for as long as it is needed: below a temporary folder, reached by a socket in it."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Server:
    """A server in `folder`, run by `account`; `synchronised`: whether it waits for disks."""

    folder: str
    account: str
    synchronised: bool

    @property
    def address(self) -> str:
        """Its address, without a database's name."""
        return f"postgresql+psycopg2://dagster@/{{database}}?host={self.folder}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        fsync = "on" if self.synchronised else "off"
        options = f"-k {self.folder} -c listen_addresses= -c fsync={fsync} -c max_connections=50"
        self.run("pg_ctl", "start", "--wait", "--silent", f"--options={options}", f"--log={self.folder}/log")

    def stop(self) -> None:
        """End it, and every transaction that is not committed."""
        self.run("pg_ctl", "stop", "--wait", "--silent", "--mode=immediate")

    @contextmanager
    def asking_for_passwords(self) -> Iterator[None]:
        """It lets nobody in without a password, and no account has one."""
        rules = Path(self.folder, "data", "pg_hba.conf")
        trusting = rules.read_text()
        rules.write_text("local all all scram-sha-256\n")
        # A restart reads the rules before it answers, a reload some time after.
        self.stop()
        self.start()
        try:
            yield
        finally:
            rules.write_text(trusting)
            self.stop()
            self.start()

    def run(self, program: str, *arguments: str) -> None:
        """Run one of Postgres' programs on its data."""
        command = [str(_programs() / program), "--pgdata", f"{self.folder}/data", *arguments]
        done = subprocess.run(
            command,
            user=self.account if os.getuid() == 0 else None,
            group=pwd.getpwnam(self.account).pw_gid if os.getuid() == 0 else None,
            extra_groups=[] if os.getuid() == 0 else None,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


@contextmanager
def running_server(synchronised: bool = False) -> Iterator[Server]:
    """A running, empty server, which may be stopped meanwhile but runs again at the end."""
    # pytest's own folders are closed to other accounts.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = Server(folder, _account(), synchronised)
        if os.getuid() == 0:
            shutil.chown(folder, server.account)
        server.run("initdb", "--username=dagster", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def cluster(synchronised: bool = False) -> Iterator[str]:
    """The address of a running, empty server, without a database's name; `synchronised`: whether it waits for disks."""
    with running_server(synchronised) as server:
        yield server.address


def new_database(address: str) -> str:
    """The address of a new, empty database of the cluster at `address`."""
    name = f"events_{uuid4().hex}"
    server = create_engine(address.format(database="postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    server.dispose()
    return address.format(database=name)
