"""The pure core: decisions without a clock, without I/O and without Hamilton."""
