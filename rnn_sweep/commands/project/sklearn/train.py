"""Handwritten digits by a linear classifier: change anything. The lines with ``run`` are all that sweeps need."""

from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

import rnn_sweep
from rnn_sweep.integrations.sklearn import fit


@rnn_sweep.main(config_path="conf", config_name="config")
def train(cfg, run):
    x, y = load_digits(return_X_y=True)
    estimator = SGDClassifier(alpha=cfg.alpha, penalty=cfg.penalty)  # or any other with partial_fit or warm_start
    fit(run, estimator, (x[:1400], y[:1400]), (x[1400:], y[1400:]), epochs=cfg.epochs)


if __name__ == "__main__":
    train()
