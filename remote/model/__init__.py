"""The models, and how they learn: optimisers, precision, running means, and the `Learner` that holds them together.

`remote.train` imports it. It knows nothing of epochs, files, events or the console.
"""
