from rnn_sweep.api import Study as Study
from rnn_sweep.api import compose as compose
from rnn_sweep.api import run_sweep as run_sweep
from rnn_sweep.api import train as train
from rnn_sweep.api import trials as trials
from rnn_sweep.errors import UserError as UserError
from rnn_sweep.outcome import Outcome as Outcome
from rnn_sweep.run.bridge import Run as Run
from rnn_sweep.run.decorator import main as main
from rnn_sweep.run.hooks import Hooks as Hooks
from rnn_sweep.run.lifecycle import start_run as start_run

__version__: str
