"""Renders one segment of a timeline."""
