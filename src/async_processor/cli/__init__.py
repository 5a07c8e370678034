"""The ``async-processor`` command, one module per subcommand."""
