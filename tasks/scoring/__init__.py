"""Scores of any model's answers to a table, without torch (docs/scoring.md)."""
