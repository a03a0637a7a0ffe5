"""Orchestrator: takes requests for videos and drives every job to its end."""
