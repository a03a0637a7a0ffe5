"""The gateway: Envoy, which turns public REST/JSON into gRPC, and lets in what the contracts call public."""
