"""What the commands share: parameters, views of what they show, printing, exit codes."""
