"""Dagster's code server of this copy of stockpick, as a resource: what it serves can be asked to follow the time.

What does not belong here: how it is started (services/dagster.py), and when it is to reload.
"""

from dataclasses import dataclass

from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._grpc.client import DagsterGrpcClient

from stockpick_assets.core.errors import StockpickError

# Dagster gives a tick of a sensor 60 s. The definitions take about one.
RELOAD_WITHIN_SECONDS = 45


class NotReloaded(StockpickError):
    """The code server serves the definitions it served before."""


class CannotReload(NotReloaded):
    """It never will: its like serves one load until it is restarted."""


@dataclass(frozen=True)
class CodeServer:
    """The server at `address`, a host and a port."""

    address: str

    def reload(self) -> None:
        """Let it make its definitions anew; the webserver and the daemon notice. Raises NotReloaded."""
        host, _, port = self.address.rpartition(":")
        client = DagsterGrpcClient(host=host, port=int(port))
        try:
            before = client.get_server_id()
            client.reload_code(timeout=RELOAD_WITHIN_SECONDS)
            after = client.get_server_id()
        except DagsterUserCodeUnreachableError as error:
            raise NotReloaded(
                f"the code server at {self.address} did not reload: {error.__cause__ or error}. Its own log says more; "
                "it goes on with the definitions it has"
            ) from error
        if after == before:
            raise CannotReload(
                f"the code server at {self.address} is one that cannot reload, such as `dagster api grpc`: restart it "
                "(`stockpick down`, then `stockpick up`)"
            )
