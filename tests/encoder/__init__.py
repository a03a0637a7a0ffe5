"""Tests of the encoder service."""
