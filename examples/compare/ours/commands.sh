# The sweep; after a kill the same line goes on with it.
python train.py -m hydra/sweeper=optuna hydra/sweeper/pruner=median 'lr=tag(log,interval(1e-4,1e-1))' 'model.hidden=choice(16,32,64)' hydra.sweeper.study_name=digits
