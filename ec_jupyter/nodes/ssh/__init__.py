"""A node reached by OpenSSH: both ends of the session, and what travels over it."""
