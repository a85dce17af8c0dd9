"""How good a map is, and how large its classes are, from a probability sample of its pixels."""
