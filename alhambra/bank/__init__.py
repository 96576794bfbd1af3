"""The demonstration bank: clients, instruments and two years of bookings that reconcile."""
