"""Jobs: what a job is, where it is stored, and the workflow that makes its video."""
