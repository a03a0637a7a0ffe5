"""The services of MoneyPrinter."""

import os
import sys

# Older versions do not even read the code: they end with a syntax error.
if sys.version_info < (3, 11):  # noqa: UP036  the line is for those
    sys.exit("error: MoneyPrinter needs Python 3.11 or newer, and this is %d.%d" % sys.version_info[:2])  # noqa: UP031

# TLS 1.3 only. gRPC for Python has no setting for the lowest TLS version (grpc/grpc#37305). Its only
# TLS 1.2 suite here needs an RSA key and our certificates have ECDSA keys, so no TLS 1.2 handshake can
# succeed; TLS 1.3 suites are not affected. gRPC reads this when it is first imported.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES256-GCM-SHA384"

# gRPC's own log is for people who debug gRPC; what a call ends with is logged by us.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
