"""What is said about drawn people: facts, expressions, captions."""
