"""The code that is copied to a host: the agent, the trainer, and what both need.

The laptop imports `remote.wire` alone. Nothing here imports ``console``, Textual, asyncssh or boto3, and nothing but
the standard library is needed until a rank imports torch.
"""
