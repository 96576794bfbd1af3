"""Be the command `alhambra import`: statements of other banks and brokers become portfolios."""
