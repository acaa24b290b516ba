"""Attacks on the plugin, one area a file; `make faults` runs them all and counts them."""
