"""AWS as such: calls and their errors, instances, images, buckets, tags. Knows no run directory.

For `console.fleet.rental`, `console.discovery`, planning's offers and presigned addresses. Only `cloud` imports boto3.
"""
