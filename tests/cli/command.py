"""The command, for tests that start it with this interpreter."""

from async_processor.cli import main

if __name__ == "__main__":
    main()
