"""Jobs in a serving process: taken from clients, claimed from the catalog, run, and announced by webhooks."""
