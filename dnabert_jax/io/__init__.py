"""One reader for each file format of the field, and the writers of tables and arrays."""
