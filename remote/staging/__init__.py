"""The copy of a data set to a host before the gang starts, from a folder that the host sees or from S3.

`remote.agent` starts it as a process of its own. Standard library only; it holds no credentials of AWS.
"""
