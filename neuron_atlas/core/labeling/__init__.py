"""Labeling: from evidence to an explanation, and from an explanation to a score."""
