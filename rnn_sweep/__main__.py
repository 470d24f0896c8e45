"""``python -m rnn_sweep``: the command ``rnn-sweep``."""

from rnn_sweep.cli import main

if __name__ == "__main__":
    main()
