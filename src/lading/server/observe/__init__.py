"""What live traffic shows."""
