"""What the notebook, the server and the command line share: the client of a flow's engine."""
