"""Encoders, heads, loading and export: nothing in here knows of data or training."""
