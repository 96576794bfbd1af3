"""Is served: REST, Socket.IO and the pages, from one web process."""
