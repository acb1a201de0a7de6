"""A world in a box: our processes, their store, the bank and all their clocks, driven by one seed.

Whatever happens is drawn from the seed – which process dies at which await, what the bank makes of a request and when,
whose clock jumps – so that a seed that breaks a promise breaks it again, step by step.
"""
