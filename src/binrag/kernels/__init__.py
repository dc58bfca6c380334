"""Numba kernels. The caller allocates, the kernel fills; no defaults, no strings, no errors in here."""
