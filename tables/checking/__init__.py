"""Finds the faults of tables, row by row and across tables (docs/data.md, "Checking a table")."""
