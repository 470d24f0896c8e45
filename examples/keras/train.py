"""A Keras project: digits, read row by row. Only the lines with ``run`` or ``callback`` are for sweeps."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from sklearn.datasets import load_digits

import rnn_sweep
from rnn_sweep.integrations.keras import RunCallback


def build(hidden: int, dropout: float, lr: float) -> keras.Model:
    layers = keras.layers
    net = keras.Sequential(
        [keras.Input((8, 8)), layers.GRU(hidden), layers.Dropout(dropout), layers.Dense(10, activation="softmax")]
    )
    net.compile(keras.optimizers.Adam(lr), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


@rnn_sweep.main(config_path="conf", config_name="config")
def train(cfg, run):
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8).astype("float32") / 16
    keras.utils.set_random_seed(run.seed)
    net = build(cfg.hidden, cfg.dropout, cfg.lr)
    callback = RunCallback(run, cfg.epochs)
    net.fit(
        x[:1400],
        y[:1400],
        cfg.batch_size,
        validation_data=(x[1400:], y[1400:]),
        epochs=cfg.epochs,
        initial_epoch=callback.done,
        callbacks=[callback],
        verbose=0,
    )


if __name__ == "__main__":
    train()
