"""The service: queues, subscriptions and transactions for the clients of an XMPP server (docs/xmpp-service.md).

service     the stream, sessions, leases, who else is there
session     one client's requests
subscriber  what is pushed to one consumer
access      who may do what
routes      from a stanza to where it goes
"""
