"""Pure figures: data in, component out."""
