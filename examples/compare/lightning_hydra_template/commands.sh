python src/train.py hparams_search=digits experiment=digits
