"""Read what other banks and brokers say of an account, and make bookings of it. Pure: nothing here does I/O.

A statement goes three steps: a reader (`flex`, `mapped_csv`) turns bytes into a `model.Statement` of entries in our
words; `planning` matches its instruments, drops what is booked already and says why anything is refused;
`derivation` makes positions of all bookings. `docs/imports.md` tells it to people.
"""
