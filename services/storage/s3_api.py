"""S3 API: what obstore does not offer: versions of blobs, and multipart uploads that were never completed."""

from __future__ import annotations

import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree

import httpx

from moneyprinter.errors import Unavailable
from services.storage.config import Config
from services.storage.credentials import ReadCredentials

# A page lists at most 1000 entries.
MAX_PAGE_BYTES = 8 * 1024 * 1024
# The parameters that ask for the page behind a marker.
_MARKERS = {"KeyMarker": "key-marker", "VersionIdMarker": "version-id-marker", "UploadIdMarker": "upload-id-marker"}
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class S3Api:
    """Signed requests to one bucket."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        config: Config,
        read_credentials: ReadCredentials,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        url = urlsplit(config.url)
        self._client, self._region, self._read, self._clock = client, config.region, read_credentials, clock
        self._prefix = f"{url.path.strip('/')}/" if url.path.strip("/") else ""
        endpoint = config.endpoint.rstrip("/") or f"https://s3.{config.region}.amazonaws.com"
        scheme, _, host = endpoint.partition("://")
        self._root = f"{scheme}://{host}/{url.netloc}" if config.path_style else f"{scheme}://{url.netloc}.{host}"

    async def has_versions(self) -> bool:
        """Report whether the bucket keeps former versions of objects, or has kept some. Raises `Unavailable`."""
        page = await self._send("GET", "", {"versioning": ""})
        return page.findtext("{*}Status") in ("Enabled", "Suspended")

    async def remove_versions(self, name: str) -> None:
        """Delete all versions and delete markers of a blob. Raises `Unavailable`."""
        key = self._prefix + name
        async for page in self._pages({"versions": "", "prefix": key}, ("KeyMarker", "VersionIdMarker")):
            for entry in (*page.iterfind("{*}Version"), *page.iterfind("{*}DeleteMarker")):
                if entry.findtext("{*}Key") == key and (version := entry.findtext("{*}VersionId")):
                    await self._send("DELETE", key, {"versionId": version})

    async def abort_uploads(self, before: float) -> int:
        """Abort the multipart uploads that began before a time, in seconds since 1970. Returns their number."""
        aborted = 0
        query = {"uploads": "", "prefix": self._prefix}
        async for page in self._pages(query, ("KeyMarker", "UploadIdMarker")):
            for entry in page.iterfind("{*}Upload"):
                key, upload = entry.findtext("{*}Key") or "", entry.findtext("{*}UploadId") or ""
                begun = datetime.fromisoformat(entry.findtext("{*}Initiated") or "9999-01-01T00:00:00Z")
                if key.startswith(self._prefix) and upload and begun.timestamp() < before:
                    await self._send("DELETE", key, {"uploadId": upload})
                    aborted += 1
        return aborted

    async def _pages(self, query: Mapping[str, str], markers: tuple[str, str]) -> AsyncIterator[ElementTree.Element]:
        """Yield the pages of a listing. The markers of the next page have these names in a page."""
        position: dict[str, str] = {}
        while True:
            page = await self._send("GET", "", {**query, **position})
            yield page
            following = {
                _MARKERS[marker]: value for marker in markers if (value := page.findtext(f"{{*}}Next{marker}"))
            }
            if page.findtext("{*}IsTruncated") != "true" or following == position:
                return
            position = following

    async def _send(self, method: str, key: str, query: Mapping[str, str]) -> ElementTree.Element:
        """Send a request without a body, and return the document of the response. Raises `Unavailable`."""
        url = f"{self._root}/{quote(key, safe='/-_.~')}"
        text = urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")
        headers = self._sign(method, url, text, await self._read())
        try:
            async with self._client.stream(method, f"{url}?{text}", headers=headers) as response:
                content = b""
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > MAX_PAGE_BYTES:
                        raise _failed("its response is too long")
        except httpx.HTTPError as failure:
            raise _failed(type(failure).__name__) from None
        # A blob that another instance deleted meanwhile.
        if response.status_code == 404 and method == "DELETE":
            return ElementTree.Element("Deleted")
        if response.status_code // 100 != 2:
            raise _failed(f"status {response.status_code}")
        try:
            # The document is the operator's own store's, and its length is limited.
            return ElementTree.fromstring(content) if content else ElementTree.Element("Empty")  # noqa: S314
        except ElementTree.ParseError:
            raise _failed("its response is no XML") from None

    def _sign(self, method: str, url: str, query: str, credentials: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of a request without a body, signed by AWS Signature Version 4."""
        split, now = urlsplit(url), self._clock()
        moment, day = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}"
        headers = {"host": split.netloc, "x-amz-content-sha256": _EMPTY_SHA256, "x-amz-date": moment}
        if token := credentials.get("session_token"):
            headers["x-amz-security-token"] = token
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = f"{method}\n{split.path}\n{query}\n{lines}\n{names}\n{_EMPTY_SHA256}"
        scope = f"{day}/{self._region}/s3/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{credentials['secret_access_key']}".encode()
        for part in (day, self._region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        identity = f"AWS4-HMAC-SHA256 Credential={credentials['access_key_id']}/{scope}"
        return {**headers, "authorization": f"{identity}, SignedHeaders={names}, Signature={signature}"}


@asynccontextmanager
async def open_s3_api(config: Config, read_credentials: ReadCredentials) -> AsyncIterator[S3Api | None]:
    """Open the API of a bucket of S3 whose keys this service reads; None for every other store.

    With the identity of a workload, obstore alone has the keys: there, rules of the bucket remove versions and uploads.
    """
    if not config.url.startswith("s3://") or config.credentials == "workload":
        yield None
        return
    authorities = ssl.create_default_context()
    if config.ca_file is not None:
        authorities.load_verify_locations(config.ca_file)
    limit = httpx.Timeout(config.timeout_seconds, connect=config.connect_timeout_seconds)
    async with httpx.AsyncClient(verify=authorities, timeout=limit, trust_env=False, follow_redirects=False) as client:
        yield S3Api(client, config, read_credentials)


def _failed(cause: str) -> Unavailable:
    return Unavailable(f"the bucket could not be listed or cleaned: {cause}; try again", reason="SERVICE_UNAVAILABLE")
