"""SSH to the hosts: connections with pinned keys, shared jump hosts, the code and files sent, the agent's channel.

For everything that talks to a host, and for the journal, which stores addresses. Never trusts a host key on first use,
and lets no exception of asyncssh out.
"""
