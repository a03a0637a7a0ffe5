"""What every server needs to start, be called, fail and stop. A closed list of modules."""
