"""What a person sees in a value: parts, tables, pictures; and how two values differ in those."""
