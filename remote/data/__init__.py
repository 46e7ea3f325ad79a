"""Data sets, and the loader that turns them into batches: which pictures, decoded, cropped, ahead of time.

`remote.train` and `remote.prepare` import it. It never changes a data set that is there, and knows nothing of models
and ranks' process groups.
"""
