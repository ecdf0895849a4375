import pytest
from torch import nn

from pgpc.evaluation.mode import evaluating


def test_every_module_gets_its_own_mode_back_whatever_happens():
    network = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()))
    network[1][0].eval()
    modes = [module.training for module in network.modules()]
    with pytest.raises(KeyError), evaluating(network):
        assert not any(module.training for module in network.modules())
        raise KeyError
    assert [module.training for module in network.modules()] == modes
