"""What each page says, as data: the templates draw it, and ``/api`` gives it as JSON. Pure."""
