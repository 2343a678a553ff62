"""`python -m robosac`."""

from robosac.cli import main

if __name__ == "__main__":
    main()
