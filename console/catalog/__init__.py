"""Tables of facts with their sources: EC2's instance types and prices, GPUs' throughput, software's costs, Xid errors.

Imported by whoever needs a figure. Pure, except that `prices` asks AWS through what it is given; knows nothing of runs
or profiles.
"""
