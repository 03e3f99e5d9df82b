"""Models: which there are, how they get here whole, and what of them is here."""
