"""What the house asks of all code: sizes, imports, and wheels that stand by themselves."""
