"""Who is asking: passwords, tokens, page sessions and roles."""
