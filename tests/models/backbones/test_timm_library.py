import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from scene_qformer.models.backbones import timm_library
from scene_qformer.models.backbones.timm_library import check_name, create_timm_skeleton, import_timm

REQUIREMENTS = Path(__file__).parents[3] / 'requirements'


@pytest.mark.parametrize(('name', 'nearest'), [
    ('convnxt_tiny', 'convnext_tiny'),
    ('eva02_base_patch14_336', 'eva02_tiny_patch14_336'),
    ('eva_giant_patch14_337', 'eva_giant_patch14_336'),
])
def test_unknown_name_gets_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f'has no model {name!r}. The nearest names are .*{nearest}.*list_models'):
        check_name(name)


def test_names_that_mean_a_download_are_refused():
    with pytest.raises(ValueError, match='nearest names are .*eva02_base_patch14_448.*weights are not given'):
        check_name('hf-hub:timm/eva02_base_patch14_448.mim_in22k')


def test_nothing_is_near():
    with pytest.raises(ValueError, match=r"no model 'zzzzz'. timm.list_models"):
        check_name('zzzzz')


def test_a_tag_of_weights_may_follow():
    check_name('vit_base_patch16_224.augreg_in21k')


def test_the_giant_needs_no_memory():
    model = create_timm_skeleton('eva_giant_patch14_336')
    assert sum(weight.numel() for weight in model.parameters()) > 1e9
    assert all(weight.is_meta for weight in model.parameters())


def test_without_timm_it_says_how_to_install_it(monkeypatch):
    import_timm()
    monkeypatch.delitem(sys.modules, 'timm')
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ModuleNotFoundError, match='pip install --no-deps timm==' + timm_library.PINNED):
        import_timm()


def test_the_advice_is_the_pinned_version():
    assert f'timm=={timm_library.PINNED}\n' in (REQUIREMENTS / 'openmmlab.txt').read_text()


def test_a_torchvision_that_cannot_be_loaded_does_not_matter(tmp_path):
    """As the package index's torchvision beside a CPU build of torch. Nothing of it is left behind for others."""
    (tmp_path / 'torchvision').mkdir()
    (tmp_path / 'torchvision' / 'extension.py').touch()
    (tmp_path / 'torchvision' / '__init__.py').write_text(
        'from . import extension\nraise RuntimeError("operator torchvision::nms does not exist")')
    program = '\n'.join((
        'import importlib.util, sys',
        f'sys.path.insert(0, {str(tmp_path)!r})',
        f'spec = importlib.util.spec_from_file_location("timm_library", {timm_library.__file__!r})',
        'library = importlib.util.module_from_spec(spec)',
        'spec.loader.exec_module(library)',
        'model = library.create_timm_model("test_vit")',
        'assert type(model).__module__ == "timm.models.vision_transformer"',
        'assert not [name for name in sys.modules if name.startswith("torchvision")]',
        'try:',
        '    import torchvision',
        'except RuntimeError:',
        '    print("still broken, as it should be")'))
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.stdout == 'still broken, as it should be\n', done.stderr
