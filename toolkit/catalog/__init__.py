"""Which scenes: public catalogs, what may be read, items found and normalised."""
