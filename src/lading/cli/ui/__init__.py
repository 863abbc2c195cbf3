"""What commands share: parameters, printing, exit codes."""
