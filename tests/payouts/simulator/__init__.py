"""A deterministic simulator: processes, their store, the bank and all clocks, driven by one seed.

Every event depends on the seed – which process dies at which await, what the bank does with a request and when, which
clock jumps – so that a seed that violates an invariant violates it again, step by step.
"""
