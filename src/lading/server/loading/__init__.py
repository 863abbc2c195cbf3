"""Wanted versions become loaded ones."""
