"""The backend `xmpp://`: the reference backend, by slixmpp, and the XMPP service that gives XMPP servers queues."""
