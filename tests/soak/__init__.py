"""Long proofs with real processes: in full by ``python -m tests.soak``, in short among the tests."""
