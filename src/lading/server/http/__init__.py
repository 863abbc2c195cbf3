"""HTTP: the hosts and the exchange."""
