"""JSON to arrays."""
