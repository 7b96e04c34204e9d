"""The Graph API: the client that calls it, how its responses are read, what its error codes ask for."""
