"""Our kernels beside those of others: one table of methods, tested for equal results and timed."""
