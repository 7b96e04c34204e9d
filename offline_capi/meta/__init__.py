"""What only Meta knows: keys, events, versions, error codes, and the one client that speaks to the Graph API."""
