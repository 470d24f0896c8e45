# The sweep; after a kill the same line goes on with it.
python train.py study=digits
