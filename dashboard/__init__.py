"""Is shown: Dash pages, pure figures and the assets that make them tick."""
