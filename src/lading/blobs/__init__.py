"""Bytes by digest on their way: counted, hashed, retried, locked."""
