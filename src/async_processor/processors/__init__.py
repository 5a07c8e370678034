"""The built-in processor functions, one module per task type, and the registry that holds them and a user's own."""
