"""Puts data, models and optimizers together."""
