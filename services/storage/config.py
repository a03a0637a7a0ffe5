"""Config: the settings of the storage service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings


class Config(Settings):
    """Settings from the environment (`MONEYPRINTER_STORAGE_...`)."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_STORAGE_")

    root: Path = Path("/var/lib/moneyprinter/storage")
    """The folder of the encrypted objects, where no URL is set."""
    url: str = Field(
        "", pattern=r"^(|file:///.+|memory://|(s3|gs|az)://[a-z0-9][a-z0-9._-]{2,62}(/[A-Za-z0-9._/-]*)?)$"
    )
    """The store: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `file:///folder`, `memory://`."""
    endpoint: str = Field("", pattern=r"^(https?://[^/?#@]+(/[A-Za-z0-9._-]+)?/?)?$")
    """The address of a compatible server, such as MinIO, Ceph or SeaweedFS; empty: the provider's own."""
    allow_http: bool = False
    """Whether the endpoint may have no TLS. Only for a server on the same machine."""
    region: str = Field("us-east-1", pattern=r"^[a-z0-9-]{1,40}$")
    """The region of an S3 bucket."""
    path_style: bool = True
    """Whether the bucket is in the path of an S3 URL; false: in the name of its host."""
    ca_file: Path | None = None
    """Certificates of authorities that may sign the endpoint's, besides those of the system."""
    azure_account: str = Field("", pattern=r"^([a-z0-9]{3,24})?$")
    """The storage account of an Azure container."""
    credentials: Literal["secret", "file", "workload"] = "secret"
    """Where the bucket's credentials are: in the secret `storage/credentials` of the config service, in a file, or in
    the identity of the workload (IAM role of a service account or machine, GKE, Azure)."""
    credentials_file: Path = Path("/etc/moneyprinter/storage-credentials.json")
    """The file with the credentials, for `file`."""
    credentials_seconds: float = Field(60.0, ge=1, le=3600)
    """How long S3 credentials are used before they are read again, so that new ones need no restart."""
    timeout_seconds: float = Field(30.0, ge=1, le=600)
    """The limit of one request to a bucket."""
    connect_timeout_seconds: float = Field(5.0, gt=0, le=60)
    """The limit of connecting to a bucket."""
    retries: int = Field(10, ge=0, le=20)
    """How often a request to a bucket is sent again after a failure that may pass."""
    retry_seconds: float = Field(60.0, ge=0, le=280)
    """For how long a request to a bucket is sent again."""
    cache_days: float = Field(30.0, ge=0)
    """How long speech, segments and other objects that can be made again are kept; 0: forever. In a folder the time
    begins with the last use, in a bucket with the storing."""
    verify_gigabytes_per_hour: float = Field(10.0, ge=0)
    """How much of the objects is read and verified in the background in an hour; 0: nothing."""
    max_calls: int = Field(100, ge=1)
    """How many calls are served at once; each may hold about 15 MB."""

    def find_insecure(self) -> Iterator[tuple[str, str]]:
        """Yield a bucket that is reached without TLS."""
        if self.allow_http:
            yield "allow_http", "a bucket without TLS; set it to false"
        if self.url.startswith("memory:"):
            yield "url", "memory, which loses all objects at the end of the process; name a folder or bucket"
