"""`python -m loomd` is `loomd`."""

from loomd.cli.main import main

if __name__ == "__main__":
    main()
