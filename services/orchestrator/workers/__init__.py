"""Workers: gRPC clients of the services that work on media."""
