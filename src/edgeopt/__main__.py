"""`python -m edgeopt`, which is what `accelerate launch -m edgeopt` and torchrun start."""

from edgeopt.cli import main

if __name__ == "__main__":
    main()
