"""The object store: SeaweedFS as one node, its data in the home, its keys enforced."""

import json
import secrets
from collections.abc import Sequence
from sysconfig import get_path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from stockpick_assets.services.environment_file import write_secret
from stockpick_assets.services.process import free_ports
from stockpick_assets.services.service import Service, ServiceError
from stockpick_assets.settings import Settings

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem


class ObjectStore(Service):
    """SeaweedFS: master, volume server, filer and S3 gateway in one process."""

    name = "object store"
    setting = "s3_endpoint"
    # Its parts wait 10 s for each other's connections to end.
    grace_seconds = 25.0

    def arguments(self, settings: Settings) -> Sequence[str]:
        folder = self.folder(settings)
        data = folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        identities = folder / "identities.json"
        write_secret(identities, json.dumps(self._identities(settings)))
        # Nobody but the S3 gateway connects to its parts, so they take whatever ports are free at each start.
        master, volume, filer, *grpc = free_ports(7)
        return [
            f"{get_path('scripts')}/weed",
            "-logtostderr=true",
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-dir={data}",
            f"-master.port={master}",
            f"-master.port.grpc={grpc[0]}",
            "-master.resumeState=false",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=1024",
            f"-volume.port={volume}",
            f"-volume.port.grpc={grpc[1]}",
            "-volume.max=100",
            "-volume.preStopSeconds=0",
            f"-filer.port={filer}",
            f"-filer.port.grpc={grpc[2]}",
            "-s3",
            f"-s3.port={self.port(settings)}",
            f"-s3.port.grpc={grpc[3]}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={identities}",
        ]

    def healthy(self, settings: Settings) -> bool:
        try:
            filesystem(settings).get_file_info(settings.s3_bucket)
        except OSError:
            return False
        return True

    def complete(self, settings: Settings) -> None:
        filesystem(settings).create_dir(settings.s3_bucket)

    def _identities(self, settings: Settings) -> object:
        keys = {
            "accessKey": settings.s3_access_key.get_secret_value(),
            "secretKey": settings.s3_secret_key.get_secret_value(),
        }
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        return {"identities": [{"name": "stockpick", "credentials": [keys], "actions": actions}]}


def with_credentials(settings: Settings, store: ObjectStore) -> Settings:
    """The settings with keys of the object store: its own, or new ones for a store that this home starts.

    Raises ServiceError when a store elsewhere has no keys.
    """
    if settings.s3_access_key.get_secret_value() and settings.s3_secret_key.get_secret_value():
        return settings
    if not store.is_local(settings):
        raise ServiceError(
            f"the object store at {settings.s3_endpoint} needs STOCKPICK_S3_ACCESS_KEY and STOCKPICK_S3_SECRET_KEY"
        )
    keys = {"s3_access_key": SecretStr(secrets.token_hex(10)), "s3_secret_key": SecretStr(secrets.token_urlsafe(30))}
    return settings.model_copy(update=keys)


def filesystem(settings: Settings) -> "S3FileSystem":
    """The store as a file system whose questions end after seconds."""
    from pyarrow.fs import S3FileSystem

    return S3FileSystem(
        endpoint_override=settings.s3_endpoint,
        access_key=settings.s3_access_key.get_secret_value(),
        secret_key=settings.s3_secret_key.get_secret_value(),
        region=settings.s3_region,
        allow_bucket_creation=True,
        connect_timeout=2,
        request_timeout=5,
    )
