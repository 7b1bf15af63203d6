"""The contracts: one abstract class per kind of capability, one kind a file. Import from the file of the kind."""
