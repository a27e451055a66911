"""Processes of one home: launched each in a group of its own, recognised again later, and ended with all they started.

What belongs here: process ids, groups, signals, ports and logs. What does not: which services there are.
"""

import json
import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil

# In the environment of every process launched here, with the home and the name as its value: it tells the
# processes that a dead service left behind from any other.
MARK = "STOCKPICK_SERVICE"
GRACE_SECONDS = 10.0
# A process id is given again at the earliest after thousands of others; the start time as psutil derives it moves
# with corrections of the machine's clock.
START_TIME_TOLERANCE_SECONDS = 2.0
# Ports that nobody is given without asking: Linux gives connections those from 32,768 on, others from 49,152.
UNASSIGNED = (20_000, 32_768)


@dataclass(frozen=True)
class ServiceProcess:
    """The process that runs the service `name` of `home`, whose folders hold its process file and log."""

    home: Path
    name: str

    @property
    def log(self) -> Path:
        """The log of the newest launch; that of the launch before lies beside it."""
        return self.home / "logs" / f"{self._file_name}.log"

    @property
    def _file(self) -> Path:
        return self.home / "processes" / f"{self._file_name}.json"

    @property
    def _file_name(self) -> str:
        return self.name.replace(" ", "_")

    @property
    def _mark(self) -> str:
        return f"{self.home.absolute()}:{self.name}"

    @property
    def recorded(self) -> bool:
        """Whether it was launched and has not been ended since, be it alive or dead."""
        return self._file.exists()

    def launch(self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> psutil.Popen:
        """Run `arguments` in `folder`, in the background, out of reach of the terminal's Ctrl-C.

        Of the shell's environment it gets all but the variables of stockpick and of AWS, which `environment` decides.
        """
        for path in (self.log.parent, self._file.parent, folder):
            path.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".previous.log"))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("STOCKPICK_", "AWS_"))}
        with self.log.open("wb") as log:
            launched = psutil.Popen(
                arguments,
                cwd=folder,
                env={**inherited, **environment, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        record = {"pid": launched.pid, "started": launched.create_time(), "environment": digest(environment)}
        self._file.write_text(json.dumps(record), encoding="utf-8")
        return launched

    def leader(self) -> psutil.Process | None:
        """The live process that was launched, or None: it must have the recorded id and start time."""
        record = self._record()
        if record is None:
            return None
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(record["pid"])
            same = abs(process.create_time() - record["started"]) <= START_TIME_TOLERANCE_SECONDS
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def members(self) -> list[psutil.Process]:
        """Every live process of the service: the leader, and what it or its children started in its group."""
        record = self._record()
        if record is None:
            return []
        leader = self.leader()
        found = [leader] if leader else []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                in_group = os.getpgid(process.pid) == record["pid"] != process.pid
                ours = in_group and (leader or process.environ().get(MARK) == self._mark)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def launched_with(self, environment: Mapping[str, str]) -> bool:
        """Whether its newest launch was given this environment."""
        record = self._record()
        return record is not None and record["environment"] == digest(environment)

    def memory(self) -> int:
        """Resident memory of all its processes, in bytes."""
        total = 0
        for process in self.members():
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total

    def end(self, grace: float = GRACE_SECONDS) -> bool:
        """Ask its processes to end, kill what is left after `grace` seconds; says whether any was alive."""
        members = self.members()
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, GRACE_SECONDS)):
            for process in self.members():
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
            if not psutil.wait_procs(members, timeout=patience)[1] and not self.members():
                break
        self._file.unlink(missing_ok=True)
        return bool(members)

    def last_lines(self, count: int = 15) -> list[str]:
        """The end of its log."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 16_000))
            return log.read().decode("utf-8", "replace").splitlines()[-count:]

    def _record(self) -> dict[str, Any] | None:
        with suppress(FileNotFoundError):
            return json.loads(self._file.read_text(encoding="utf-8"))
        return None


def digest(environment: Mapping[str, str]) -> str:
    """A name for an environment that does not give its secrets away."""
    return sha256(json.dumps(environment, sort_keys=True).encode()).hexdigest()


def port_is_free(port: int) -> bool:
    """Whether a service could listen on this port of 127.0.0.1.

    Asked by binding without SO_REUSEPORT: a gRPC server would share the port with an old one without a word.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nothing listens on now.

    Not of those that the system gives to connections: one of them could be taken before its service binds it.
    """
    free: list[int] = []
    while len(free) < count:
        port = random.randrange(*UNASSIGNED)  # noqa: S311 - no secret
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in free:
                free.append(port)
    return free


def holder_of(port: int) -> str:
    """The process that listens on the port, in words; of another user's process only root can see more."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listens_there = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens_there and connection.pid:
                return f"process {connection.pid} ({' '.join(psutil.Process(connection.pid).cmdline())[:80]})"
    return "a process that this user cannot see"
