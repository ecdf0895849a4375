"""``python -m pgpc`` and ``torchrun -m pgpc``: the same as the command ``pgpc``."""

from pgpc.cli import main

if __name__ == "__main__":
    main()
