"""`python -m laion_hpc`, and `python -m mpi4py -m laion_hpc` under MPI: the same as `laion-hpc`."""

from laion_hpc.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
