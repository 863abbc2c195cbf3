"""Processes: start-up, workers, drain."""
