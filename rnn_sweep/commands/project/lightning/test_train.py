from omegaconf import OmegaConf
from train import train


def test_it_learns(tmp_path, monkeypatch):
    cfg = OmegaConf.load("conf/config.yaml")
    cfg.tracking = {"enabled": False}
    monkeypatch.chdir(tmp_path)
    assert train(cfg).values[0] > 0.8
