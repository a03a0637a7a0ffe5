"""Joins rendered segments without encoding them again."""
