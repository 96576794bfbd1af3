"""One module a page, each a function from the viewer to components."""
