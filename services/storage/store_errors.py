"""Store errors: the exceptions of obstore as errors of the platform."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from moneyprinter.errors import Conflict, DataLoss, Error, NotFound, ResourceExhausted, Unavailable

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# A bad sector, or a folder in the place of a file.
_UNREADABLE = (errno.EIO, errno.EISDIR)

# obstore gives numbers, statuses and the codes of S3 only in its messages. A message ends with a long dump of the
# source, behind this line.
_DUMP = "Debug source:"
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"(?:<Code>|\(code: )([A-Za-z]{1,64})")

_FULL_CODES = {
    *("QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage"),
    *("InsufficientCapacity", "AccountProblem", "StorageFull", "EntityTooLarge"),
}
_REFUSED_CODES = {
    *("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"),
    *("RequestTimeTooSkewed", "AuthorizationFailure", "AuthenticationFailed", "AllAccessDisabled"),
}
_MISSING_CODES = {"NoSuchBucket", "ContainerNotFound"}
_MISSING_TEXTS = ("The specified bucket does not exist", "The specified container does not exist")


@contextmanager
def store_errors(name: str) -> Iterator[None]:
    """Map the exceptions of the store about a blob to errors of the platform.

    `NotFound` is raised only when the store is there and has no such blob. A missing bucket and refused credentials
    are `Unavailable` (STORE_REFUSED), since calls succeed again when an operator has corrected them.
    """
    try:
        yield
    except Error:
        raise
    except (BaseError, OSError, NotImplementedError) as failure:
        raise _to_error(failure, name) from None


def _to_error(failure: Exception, name: str) -> Error:
    text = str(failure).partition(_DUMP)[0]
    code = found[1] if (found := _CODE.search(text)) else ""
    status = int(found[1]) if (found := _STATUS.search(text)) else 0
    number = int(found[1]) if (found := _SYSTEM_ERROR.search(text)) else 0
    if code in _MISSING_CODES or any(missing in text for missing in _MISSING_TEXTS):
        return _refused("its bucket does not exist; create it, or correct MONEYPRINTER_STORAGE_URL")
    if number in _FULL or code in _FULL_CODES or status == 507:
        return ResourceExhausted(
            "the store of the storage service is full; free some space or raise its quota, and try again",
            reason="STORAGE_FULL",
        )
    if (
        isinstance(failure, PermissionDeniedError | UnauthenticatedError)
        or code in _REFUSED_CODES
        or status in (401, 403)
    ):
        return _refused(
            f"it does not accept the credentials ({code or status or 'denied'}); correct them or their rights"
        )
    if isinstance(failure, FileNotFoundError):
        return NotFound(f"there is no blob {name}", reason="OBJECT_NOT_FOUND")
    if isinstance(failure, AlreadyExistsError | PreconditionError):
        return Conflict(f"the blob {name} exists already, or was changed meanwhile", reason="OBJECT_CONFLICT")
    if number in _UNREADABLE:
        return DataLoss(f"the disk cannot read the blob {name}; restore it from a backup", reason="DATA_CORRUPT")
    if status == 416:
        return DataLoss(f"the blob {name} is shorter than what was stored", reason="DATA_CORRUPT")
    cause = f"status {status} {code}".strip() if status else _first_line(text)
    return Unavailable(f"the store failed: {cause}; try again", reason="SERVICE_UNAVAILABLE")


def _refused(cause: str) -> Unavailable:
    return Unavailable(f"the object store cannot be used: {cause}", reason="STORE_REFUSED")


def _first_line(text: str) -> str:
    """Return the first line of a message, without addresses."""
    return re.sub(r"https?://\S+", "the store", (text.strip().splitlines() or ["unknown failure"])[0])[:200]
