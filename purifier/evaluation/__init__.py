"""Data sets and measurements."""
