"""Kafka: Apache's own as one KRaft node, its data in the home."""

import base64
import os
import socket
import struct
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from stockpick_assets.services.java import jars, java
from stockpick_assets.services.process import free_ports
from stockpick_assets.services.service import Service, ServiceError
from stockpick_assets.settings import Settings

VERSION = "4.1.0"
_API_VERSIONS = 18

# One node holds the only copy of everything. Topics are made by the relay alone, so that a misspelt name is an error.
# The cleaner's buffer is 128 MiB by default, more than the rest of the broker takes.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=16777216
"""


class Kafka(Service):
    """A broker that is its own controller, in plain text, as it listens on this machine only."""

    name = "kafka"
    setting = "kafka_bootstrap"

    def require(self, settings: Settings) -> None:
        java()

    def arguments(self, settings: Settings) -> Sequence[str]:
        folder = self.folder(settings)
        folder.mkdir(parents=True, exist_ok=True)
        properties = folder / "server.properties"
        properties.write_text(render(self.port(settings), free_ports(1)[0], folder / "data"), encoding="utf-8")
        run = [java(), "-Xms64m", "-Xmx320m", "-XX:+UseSerialGC", "-Dlog4j2.level=WARN"]
        run += ["-cp", f"{jars(f'kafka-{VERSION}', 'kafka.xml')}/*"]
        if not (folder / "data" / "meta.properties").exists():
            self._format(run, properties)
        return [*run, "kafka.Kafka", str(properties)]

    def healthy(self, settings: Settings) -> bool:
        question = struct.pack(">hhih", _API_VERSIONS, 0, 1, -1)
        try:
            with socket.create_connection(self.endpoint(settings), timeout=2) as connection:
                connection.sendall(struct.pack(">i", len(question)) + question)
                answer = connection.recv(10, socket.MSG_WAITALL)
        except OSError:
            return False
        return len(answer) == 10 and struct.unpack(">iih", answer)[1:] == (1, 0)

    def _format(self, run: Sequence[str], properties: Path) -> None:
        command = [*run, "kafka.tools.StorageTool", "format", "--cluster-id", cluster_id(), "--config", str(properties)]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=os.fspath(properties.parent))
        if answer.returncode:
            raise ServiceError(f"kafka could not format its storage: {(answer.stdout + answer.stderr).strip()[-500:]}")


def render(port: int, controller: int, data: Path) -> str:
    """The node's server.properties."""
    return PROPERTIES.format(port=port, controller=controller, data=data)


def cluster_id() -> str:
    """A new cluster id: 16 random bytes in URL-safe base64, which must not look like an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text
