"""IBOSS over SOAP: client, pure parsers and the worker that polls it."""
