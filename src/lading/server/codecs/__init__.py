"""JSON to arrays, for every protocol."""
