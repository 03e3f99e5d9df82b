"""`field-test`: a scripted acceptance of a device where it stands, and a report of it."""
