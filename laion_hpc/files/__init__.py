"""What stages hand each other: formats, ledgers, names of files."""
