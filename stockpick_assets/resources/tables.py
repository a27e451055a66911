"""The store as a Dagster resource: the tables' address and credentials come from `dagster_aws`'s S3Resource."""

import dagster as dg
from dagster_aws.s3 import S3Resource

from stockpick_assets.store import Store, s3_options


class Tables(dg.ConfigurableResource):
    """Where the tables of one source are.

    `root` is a folder to keep them in; empty, they are in `bucket` of the S3 service that `s3` describes.
    """

    s3: dg.ResourceDependency[S3Resource]
    bucket: str
    source: str
    root: str = ""

    def store(self) -> Store:
        """The tables, ready to be read and written."""
        if self.root:
            return Store(self.root, self.source, {})
        options = s3_options(
            self.s3.endpoint_url or "",
            self.s3.aws_access_key_id or "",
            self.s3.aws_secret_access_key or "",
            self.s3.region_name or "",
        )
        return Store(f"s3://{self.bucket}", self.source, options)
