"""What the notebooks call beside the package's main functions: hardware, tables, pictures."""
