"""What processes that share a machine's cores are started with."""

# One thread a process, for XLA (which reads NPROC) and LAPACK: these matrices are
# small, and LAPACK's threads spin. And none takes an accelerator's whole memory.
SIDE_BY_SIDE = {
    "NPROC": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
