"""Kokoro: the neural voice that needs no network. Only child processes run its model."""
