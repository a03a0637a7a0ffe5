"""The work of the commands. These modules load gRPC; the modules with options and help do not."""
