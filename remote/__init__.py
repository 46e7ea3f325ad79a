"""What fastconsole ships to a host: the agent, the trainer and the words they speak.

Nothing here imports ``console``, Textual, asyncssh or boto3; the agent's side needs the standard library only.
"""
