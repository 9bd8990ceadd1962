"""A sweep's records as a table and as pictures."""
