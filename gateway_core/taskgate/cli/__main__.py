"""`python -m taskgate.cli`."""

from taskgate.cli import main

if __name__ == "__main__":
    main()
