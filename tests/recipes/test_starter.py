"""The config file that ``pgpc init`` prints."""

import json

import pgpc
from pgpc.config import override
from pgpc.recipes.recipe import from_file
from pgpc.recipes.starter import starter


def test_it_reads_back_as_the_config_with_every_value_explained(own, tmp_path):
    config = pgpc.own_preset("custom/mic-hrda+pgpc", source=own[0], target=own[1], changes={"contrast.eta": 0.4})
    text = starter(config, also={"contrast.eta"}, remarks={"data.source": "6 images."})
    (tmp_path / "mine.json").write_text(text)
    assert from_file(tmp_path / "mine.json", {}).config == config
    tree = json.loads(text)
    assert tree["preset"] == "custom/mic-hrda+pgpc"
    assert tree["data"]["// source"].startswith("6 images. Folder of packed shards")
    assert tree["contrast"]["eta"] == 0.4
    for group in (group for group in tree.values() if isinstance(group, dict)):
        values = {name for name in group if not name.startswith("//")}
        assert {f"// {name}" for name in values} == {name for name in group if name.startswith("//")}


def test_what_is_changed_in_it_counts(own, tmp_path):
    config = pgpc.own_preset("custom/daformer+pgpc", source=own[0], target=own[1])
    tree = json.loads(starter(config))
    tree["data"]["crop"], tree["data"]["eval_split"] = 96, None
    (tmp_path / "mine.json").write_text(json.dumps(tree))
    assert from_file(tmp_path / "mine.json", {}).config == override(config, {"data.crop": 96})
