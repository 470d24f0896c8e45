wandb sweep sweep.yaml
wandb agent --count 20 SWEEP_ID
