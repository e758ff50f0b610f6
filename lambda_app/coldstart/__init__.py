"""What makes a cold start fast, and what measures it."""
