"""The services of MoneyPrinter."""

import os

# TLS 1.3 only. gRPC for Python has no setting for the lowest TLS version (grpc/grpc#37305). Its only
# TLS 1.2 suite here needs an RSA key and our certificates have ECDSA keys, so no TLS 1.2 handshake can
# succeed; TLS 1.3 suites are not affected. gRPC reads this when it is first imported.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES256-GCM-SHA384"

# gRPC's own log is for people who debug gRPC; what a call ends with is logged by us.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
