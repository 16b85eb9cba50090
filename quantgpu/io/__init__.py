"""Files and callers' objects: what is read, what is written, and how nothing is lost."""
