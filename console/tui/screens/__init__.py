"""The run's screen, a node's, and the dialogs."""
