"""Plans: what a profile rents, where, at which price, for how long, and what stands in the way.

Imported by the commands that plan or start a run, and by the fleet, which fills in an `Offer`. Pure: never asks AWS
itself, and knows nothing of a run that exists.
"""
