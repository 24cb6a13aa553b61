"""Measurements of hamdev against what one would use without it; run from the project's folder."""
