"""The daemon that supervises one host of a run, and the process that connects the console to it.

It imports `remote.wire` and `remote.staging` and the standard library, never torch: it has to start on any host, at
once. Nothing on a host imports it; of the laptop's code only the embedded hosts use its meters.
"""
