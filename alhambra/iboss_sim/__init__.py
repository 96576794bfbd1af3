"""A simulator of the IBOSS back office: a real SOAP 1.1 service for demonstration and tests only."""
