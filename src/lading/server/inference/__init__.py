"""One prediction: version, batch, run. Knows no protocol."""
