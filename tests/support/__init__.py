"""What tests have in common: small models and data, checks, and programs that run in other processes."""
