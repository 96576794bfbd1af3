"""A client's portfolios over REST: overview, holdings and allocation."""
