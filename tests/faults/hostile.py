"""Input that nobody should type: each row is what follows ``python run.py``."""

# ruff: noqa: RUF001 - a table, and its ambiguous characters are meant

from __future__ import annotations

BASE = ["experiment=smoke", "data.limit=60", "model.hidden_dim=4", "trainer.epochs=1", "tracking=off"]
SWEEP = ["-m", "hydra/sweeper=optuna", *BASE, "hydra.sweeper.dry_run=true"]
LR = "optimizer.lr=tag(log,interval(1e-3,1e-2))"

WHOLE = [
    *("model.hidden_dim", "model.layers", "data.batch_size", "trainer.threads", "trainer.patience", "data.limit"),
    *("seed", "data.split_seed"),
]
NOT_WHOLE = [
    *("-1", "1.5", "nan", "inf", "-inf", "1e400", "''", "abc", "[1]", "{a: 1}", "true", "99999999999999999999999"),
    *("0x1g", "１２", "'1; rm -rf /'", "${nope}", "1e3"),
]
REAL = ["optimizer.lr", "optimizer.weight_decay", "model.dropout", "trainer.clip_norm", "data.val_size"]
NOT_REAL = ["-1", "nan", "inf", "''", "abc", "[0.1]", "{a: 1}", "1e400", "'0.1 '", "${env:HOME}"]
CHOICES = ["model.cell", "model.nonlinearity", "model.init", "scheduler.name", "data.name", "trainer.device"]
NOT_CHOICES = ["'../../etc/passwd'", "RELU", "'relu '", "''", "7", "[relu]", "'\u202euler'", "x" * 10_000]

SPACES = [
    *(
        "optimizer.lr=interval(1)",
        "optimizer.lr=interval(a,b)",
        "optimizer.lr=interval(1,1e999)",
        "optimizer.lr=choice()",
    ),
    *("optimizer.lr=interval(nan,1)", "optimizer.lr=tag(log,interval(-1,1))", "optimizer.lr=int(interval(0,1))"),
    *("optimizer.lr=range(1,1)", "optimizer.lr=range(1,2,0)", "optimizer.lr=tag(nope,interval(1e-3,1))"),
    *(
        "optimizer.lr=choice(0.1,0.1)",
        "optimizer.lr=sort(interval(0,1))",
        "optimizer.lr=shuffle(1,2",
        "optimizer.lr==1,2",
    ),
    "++hydra.sweeper.params={seed: 'range(1," + "1" * 5000 + ")'}",
    *(
        "model=choice(rnn,nope)",
        "model=glob(z*)",
        "model.hidden_dim=range(1,1000000000000)",
        "model.cell=choice(null,7)",
    ),
    *(
        "=1,2",
        "optimizer.lr=",
        "~optimizer.lr=interval(0,1)",
        "++a.b.c=1,2",
        "@x=1,2",
        "\x00=1,2".replace("\x00", "\x01"),
    ),
]
SETTINGS = [
    *("reuse=3", "reuse=maybe"),
    *("n_trials=0", "n_trials=-3", "n_trials=1.5", "n_trials=many", "n_trials=[1]", "n_trials=true", "n_jobs=0"),
    *(
        "n_jobs=nan",
        "max_failure_rate=2",
        "max_failure_rate=nan",
        "timeout=-1",
        "timeout=soon",
        "timeout=1x",
        "timeout=nan",
        "timeout='" + "1" * 5000 + "'",
    ),
    *("timeout={a:1}", "direction=up", "direction=[]", "direction=[minimize,up]", "direction={a:1}", "direction=7"),
    *(
        "study_name=../../evil",
        "study_name=''",
        "study_name=[a]",
        "study_name=' a'",
        "study_name='a\tb'",
        "study_name=..",
    ),
    *(
        "study_name=" + "x" * 300,
        "study_name='a\\\\b'",
        "storage=evil",
        "storage=7",
        "storage=nosuch://x",
        "storage='://'",
    ),
    *("storage=journal://", "storage='journal:///proc/nowhere/x'", "storage='sqlite:///../../../proc/x.db'"),
    *("constraints=[1]", "constraints='a<1'", "constraints=['__import__(\"os\") <= 1']", "enqueue=[{nope: 1}]"),
    *(
        "enqueue={a: 1}",
        "enqueue=[1]",
        "enqueue=[{optimizer.lr: a}]",
        "retries={nope: 1}",
        "retries=-1",
        "retries=many",
    ),
    *("retries={orphaned: -1}", "conditions={a: 1}", "conditions=7", "params=7", "params=[1]", "deterministic=7"),
    *(
        "defaults_first=maybe",
        "custom_search_space=os.system",
        "custom_search_space=nope.nope",
        "custom_search_space='..'",
    ),
    *(
        "sampler.seed=abc",
        "sampler._target_=os.system",
        "pruner._target_=os.system",
        "sampler._target_=optuna.samplers.X",
    ),
    *("pruner.n_startup_trials=-1", "pruner.n_startup_trials=abc", "nope=1", "dry_run=maybe"),
]
OTHERS = [
    ["optimizer._target_=os.system"],
    ["optimizer._target_=torch.optim.__builtins__"],
    ["optimizer._target_=torch.optim.Optimizer"],
    ["optimizer._target_=torch.optim.LBFGS"],
    ["optimizer._target_=torch.optim.lr_scheduler.StepLR"],
    ["+optimizer.params=[1]"],
    ["+optimizer.betas=[2]"],
    ["optimizer.betas=nope"],
    ["optimizer.eps=-1"],
    ["+model.__class__=7"],
    ["+model.nope=7"],
    ["+trainer.nope=7"],
    ["+nope=7"],
    ["~model"],
    ["~model.cell"],
    ["model={cell: rnn}"],
    ["data=../../../etc/passwd"],
    ["experiment=../../etc/passwd"],
    ["experiment=/etc/passwd"],
    ["--config-name=../../etc/passwd"],
    ["--config-dir=/nowhere"],
    ["trainer.resume=/etc"],
    ["trainer.resume=''"],
    ["trainer.resume=../.."],
    ["trial={number: 1}"],
    ["trial={number: a, study_name: b, storage: c}"],
    ["trial=7"],
    ["objective=nope"],
    ["objective=[val/loss,nope]"],
    ["objective={a: 1}"],
    ["tracking=mlflow", "tracking.uri=file:///etc"],
    ["tracking=mlflow", "tracking.uri=../../evil.db"],
    ["tracking=mlflow", "tracking.uri='sqlite:////etc/passwd'"],
    ["tracking=mlflow", "tracking.uri='sqlite:///:memory:'"],
    ["tracking=mlflow", "tracking.uri='http://user:s3cret@127.0.0.1:9'"],
    ["tracking=mlflow", "tracking.uri='postgresql://u:s3cret@127.0.0.1:9/x'"],
    ["tracking=mlflow", "tracking.experiment=''"],
    ["tracking=mlflow", "tracking.tags=[1]"],
    ["tracking=mlflow", "tracking.enabled=maybe"],
    ["model.hidden_dim=${model.hidden_dim}"],
    ["seed=${oc.env:NOPE_NOT_SET}"],
    ["seed=${oc.decode:'1+1'}"],
    ["trainer.epochs=0"],
    ["trainer.epochs=!!python/object/apply:os.system"],
    ["data.dir=/proc/nowhere"],
    ["data.dir=7"],
    ["trainer.precision=fp64"],
    ["scheduler.pct_start=1"],
    ["scheduler.div_factor=0"],
    ["scheduler={name: step, step_size: 0}"],
    ["model.hidden_dim=100000000"],
    ["model.layers=100000000"],
    ["model=null"],
    ["data=null"],
    ["optimizer=7"],
    ["trainer=true"],
    ["model=[7]"],
    ["model="],
    ["model=''"],
    ["hydra/launcher=null"],
    ["tracking=null"],
    ["model: lstm"],
    ["model", "lstm"],
    ["model=LSTM"],
    ["model = lstm"],
    ["--model=lstm"],
    ["-model=lstm"],
    ["model.hidden_dim:64"],
    ["model.hidden_dim=64,"],
    ["model.hidden_dim=64,128"],
    ["model.hidden_dim=1e2"],
    ["model.hidden_dim=1_000_000_000"],
    ["model.hidden=64"],
    ["hidden_dim=64"],
    ["lr=0.1"],
    ["optimizer.lr=0,1"],
    ["optimizer.lr=1e-3e"],
    ["optimizer.lr=.001f"],
    ["optimizer.lr=${optimizer.lr}"],
    ["optimizer.lr=choice(0.1)"],
    ["optimizer.lr=interval(0,1)"],
    ["optimizer.momentum=0.9"],
    ["+optimizer.momentum=0.9"],
    ["optimizer=Adam"],
    ["optimizer=torch.optim.Adam"],
    ["trainer.epochs=10.0"],
    ["trainer.epochs=ten"],
    ["trainer.epochs=" + "9" * 4000],
    ["model.hidden_dim=" + "1" * 5000],
    ["model.hidden_dim=1_" + "0" * 5000],
    ["model=" + "1" * 5000],
    ["hydra.job.num=" + "1" * 5000],
    ["+model={hidden_dim: " + "1" * 5000 + "}"],
    ["-m", "seed=1," + "1" * 5000],
    ["-m", "hydra/sweeper=optuna", "seed=range(1," + "1" * 5000 + ")", "hydra.sweeper.dry_run=true"],
    ["data.limit=" + "9" * 400],
    ["data.limit=1000000000000"],
    ["data.batch_size=" + "9" * 400],
    ["data.val_size=1e999"],
    ["data.val_size=2.5"],
    ["trainer.device=gpu"],
    ["trainer.device=cuda"],
    ["trainer.device=cpu:0"],
    ["trainer.timeout=10m"],
    ["trainer.precision=float32"],
    ["objective=accuracy"],
    ["objective=test/accuracy"],
    ["seed=random"],
    ["scheduler=null"],
    ["scheduler=None"],
    ["hydra.verbose=maybe"],
    ["--multirun"],
    ["-m", "seed=range(0)"],
    ["-m", "model=null,rnn"],
    ["-m", "hydra/sweeper=optuna", "n_trials=3"],
    ["-m", "hydra/sweeper=optuna", "model.hidden_dim=[8,16]", "hydra.sweeper.dry_run=true"],
    ["-m", "hydra/sweeper=optuna", "hydra/sweeper/sampler=nope"],
    ["-m", "hydra/sweeper=optuna", "hydra/sweeper/pruner=null"],
    ["-m", "hydra/sweeper=optuna", "hydra/launcher=slurm"],
    ["\x01"],
    ["="],
    ["=="],
    ["a=b=c"],
    ["🦉=1"],
    ["--nope"],
    ["hydra.run.dir=/proc/nowhere"],
    ["-m", "seed=1,2", "hydra.sweep.dir=/proc/nowhere"],
    ["-m", "hydra/sweeper=optuna", "hydra.sweep.dir=/proc/nowhere", "hydra.sweeper.n_trials=1"],
    ["hydra/launcher=nope"],
    ["hydra/sweeper=nope"],
]


def rows() -> list[list[str]]:
    """All command lines."""
    typed = [[f"{key}={value}"] for keys, values in ((WHOLE, NOT_WHOLE), (REAL, NOT_REAL), (CHOICES, NOT_CHOICES))
             for key in keys for value in values]  # fmt: skip
    plain = [_with_base(row) for row in [*typed, *OTHERS]]
    spaces = [[*SWEEP, space] for space in SPACES]
    pruned = [*SWEEP, "hydra/sweeper/pruner=median", LR]
    settings = [[*pruned, "hydra.sweeper.conditions=null", f"hydra.sweeper.{setting}"] for setting in SETTINGS]
    return [*plain, *spaces, *settings]


def _with_base(row: list[str]) -> list[str]:
    """A row after the settings of a small run that it does not give itself, and after ``-m``."""
    given = {each.partition("=")[0] for each in row}
    flags = [each for each in row[:1] if each == "-m"]
    return [*flags, *(each for each in BASE if each.partition("=")[0] not in given), *row[len(flags) :]]
