"""From references and releases to loaded versions."""
