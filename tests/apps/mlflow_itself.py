"""A training function that starts MLflow by itself, as it did before it was swept."""

import mlflow

import rnn_sweep


@rnn_sweep.main(config_path=None)
def train(cfg, run):
    with mlflow.start_run(run_name=f"own {cfg.x}"):
        mlflow.log_metric("square", cfg.x**2)
        with mlflow.start_run(run_name="inner", nested=True):
            pass
    return cfg.x**2


if __name__ == "__main__":
    train()
