"""Sample episodes, well-formed and awkward."""
