"""Orders candidates: pure functions."""
