"""What is said of drawn people: facts, expressions, captions."""
