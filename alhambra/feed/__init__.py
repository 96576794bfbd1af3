"""Be the commands `alhambra feed …`: venues' sessions recorded, and read again."""
