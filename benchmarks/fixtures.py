"""Random models of other libraries, and what they answer: `data/imports`, which tests read.

    python benchmarks/fixtures.py --install FOLDER   # environments in FOLDER, then all models
    python benchmarks/fixtures.py                    # those that this environment can make

TransformerLens 4 needs another version of transformers than 2 does, so there are two environments.
The regression transformer has no package. `Regression` is written after timaeus-research/icl, with
the same names.
"""

import argparse
import importlib.metadata
import json
import subprocess
import sys
import venv
from functools import partial
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / 'data' / 'imports'
ENVIRONMENTS = dict(
    old=('torch==2.13.0', 'transformers<5', 'transformer-lens==2.18.0', 'safetensors', 'numpy>=2'),
    new=('torch==2.13.0', 'transformers>=5.9', 'transformer-lens==4.3.0', 'safetensors'),
)
V, T, D, H, L = 29, 12, 16, 2, 2  # tokens, positions, width, heads, layers
SMALL = dict(d_model=D, d_head=D // H, n_heads=H, n_layers=L, n_ctx=T, d_vocab=V, seed=0)
FIELDS = [*SMALL, 'd_mlp', 'act_fn', 'attn_only', 'normalization_type', 'eps', 'attn_scale']
FIELDS += ['positional_embedding_type', 'parallel_attn_mlp', 'rotary_dim', 'rotary_base']
FIELDS += ['rotary_adjacent_pairs', 'architecture']


def shake(model, seed):
    "Every parameter random, so that no bias or scale hides behind its first zero or one"
    import torch

    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            scale = p.ndim == 1 and (name.endswith('.w') or name.endswith('weight'))
            p.copy_(0.25 * torch.randn_like(p) + float(scale))
    return model.eval()


def keep(name, model, packages, save, ask, settings=None):
    "A folder with the model and its answers, and its line in the index"
    import torch

    folder = DATA / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    save(folder)
    (folder / 'README.md').unlink(missing_ok=True)
    (folder / 'generation_config.json').unlink(missing_ok=True)
    files = sorted(file.name for file in folder.iterdir())
    with torch.no_grad():
        np.savez_compressed(folder / 'expected.npz', **ask(model))
    index = DATA / 'index.json'
    held = json.loads(index.read_text()) if index.exists() else {}
    version = importlib.metadata.version
    made = ', '.join(f'{p} {version(p)}' for p in packages)
    held[name] = dict(made_with=made, files=files) | (dict(settings=settings) if settings else {})
    index.write_text(json.dumps(dict(sorted(held.items())), indent=1) + '\n')
    print(name, made)


def of_tokens(answer):  # a function of tokens
    "What a language model says to three sequences"
    import torch

    tokens = np.random.default_rng(0).integers(0, V, (3, 10))
    return lambda model: dict(tokens=tokens, logits=answer(model, torch.as_tensor(tokens)).numpy())


def tensors(model, folder):
    from safetensors.torch import save_file

    held = {k: v.contiguous().clone() for k, v in model.state_dict().items()}
    held = {k: v for k, v in held.items() if not k.endswith(('IGNORE', '.mask'))}
    save_file(held, str(folder / 'model.safetensors'))


def with_transformers():
    "GPT-2 and GPT-NeoX"
    from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

    version = importlib.metadata.version('transformers').split('.')[0]
    small = dict(hidden_size=D, num_hidden_layers=L, num_attention_heads=H, intermediate_size=32)
    small |= dict(vocab_size=V, max_position_embeddings=T)
    gpt2 = GPT2Config(n_embd=D, n_layer=L, n_head=H, vocab_size=V, n_positions=T)
    sequential = dict(use_parallel_residual=False, rotary_pct=0.5, hidden_act='gelu_new')
    models = {'neox_5': (GPTNeoXForCausalLM, GPTNeoXConfig(**small), '1GB')}
    if version == '4':
        models = dict(
            gpt2=(GPT2LMHeadModel, gpt2, '1GB'),
            neox=(GPTNeoXForCausalLM, GPTNeoXConfig(**small), '12KB'),
            neox_sequential=(GPTNeoXForCausalLM, GPTNeoXConfig(**small, **sequential), '1GB'),
        )
    for seed, (name, (kind, config, shard)) in enumerate(models.items()):
        model = shake(kind(config), seed)
        save = partial(model.save_pretrained, max_shard_size=shard)
        ask = of_tokens(lambda m, tokens: m(tokens).logits)
        keep(name, model, ('transformers', 'torch'), save, ask)


def with_lens():
    "TransformerLens before version 4"
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    of_mlp = dict(d_mlp=32, act_fn='gelu', attn_only=False)
    kinds = dict(
        lens_shortformer=(dict(attn_only=True, positional_embedding_type='shortformer'), False),
        lens_folded=(dict(attn_only=True), True),
        lens_mlp=(of_mlp, False),
        lens_rotary=(
            of_mlp | dict(positional_embedding_type='rotary', rotary_dim=4, parallel_attn_mlp=True),
            True,
        ),
        lens_adjacent=(
            dict(
                attn_only=True,
                positional_embedding_type='rotary',
                rotary_adjacent_pairs=True,
                rotary_dim=4,
            ),
            False,
        ),
    )
    for seed, (name, (choices, fold)) in enumerate(kinds.items()):
        choices = dict(normalization_type='LN') | choices
        model = shake(HookedTransformer(HookedTransformerConfig(**SMALL, **choices)), 10 + seed)
        if fold:
            model.process_weights_(
                center_writing_weights=False, refactor_factored_attn_matrices=False
            )
        kept = {k: v for k, v in model.cfg.to_dict().items() if k in FIELDS}
        alone = 'positional_embedding_type', 'normalization_type'
        alone = {k: kept[k] for k in alone} if name in ('lens_shortformer', 'lens_folded') else None

        def save(folder, model=model, kept=kept, alone=alone):
            tensors(model, folder)
            if not alone:
                (folder / 'config.json').write_text(json.dumps(kept, indent=1) + '\n')

        ask = of_tokens(lambda m, tokens: m(tokens))
        keep(name, model, ('transformer-lens', 'torch'), save, ask, alone)


def with_lens_4():
    "TransformerLens 4, whose own models are bridges"
    from transformer_lens import TransformerBridge, TransformerBridgeConfig

    small = SMALL | dict(architecture='TransformerLensNative', d_mlp=32, act_fn='gelu')
    kinds = dict(
        lens4_mlp=dict(normalization_type='LN'),
        lens4_rotary=dict(
            normalization_type='LNPre',
            attn_only=True,
            positional_embedding_type='rotary',
        ),
    )
    for seed, (name, choices) in enumerate(kinds.items()):
        config = TransformerBridgeConfig(**small | choices)
        model = TransformerBridge.boot_native(config)
        shake(model.original_model, 20 + seed)
        kept = {k: getattr(config, k) for k in FIELDS if hasattr(config, k)}

        def save(folder, model=model, kept=kept):
            tensors(model, folder)
            (folder / 'config.json').write_text(json.dumps(kept, indent=1) + '\n')

        ask = of_tokens(lambda m, tokens: m.original_model(tokens))
        keep(name, model, ('transformer-lens', 'torch'), save, ask)


def regression():
    "In-context linear regression, with the names of timaeus-research/icl"
    import torch
    from torch import nn

    class Heads(nn.Module):
        def __init__(self, output):
            super().__init__()
            self.attention = nn.Linear(D, 3 * D, bias=False)
            if output:
                self.output = nn.Linear(D, D, bias=False)

        def forward(self, x):
            B, n, _ = x.shape
            q, k, v = self.attention(x).view(B, n, H, 3, D // H).permute(3, 0, 2, 1, 4)
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            y = y.transpose(1, 2).reshape(B, n, D)
            return self.output(y) if hasattr(self, 'output') else y

    class Block(nn.Module):
        def __init__(self, output):
            super().__init__()
            self.attention = Heads(output)
            self.compute = nn.Sequential(nn.Linear(D, 24), nn.ReLU(), nn.Linear(24, D))
            self.layer_norms = nn.ModuleList([nn.LayerNorm(D), nn.LayerNorm(D)])

        def forward(self, x):
            x = x + self.attention(self.layer_norms[0](x))
            return x + self.compute(self.layer_norms[1](x))

    class Regression(nn.Module):
        def __init__(self, dim, points, output):
            super().__init__()
            self.token_embedding = nn.Linear(dim + 1, D, bias=False)
            self.postn_embedding = nn.Linear(2 * points, D, bias=False)
            self.blocks = nn.ModuleList([Block(output) for _ in range(L)])
            self.unembedding = nn.Sequential(nn.LayerNorm(D), nn.Linear(D, dim + 1))

        def forward(self, tokens):
            x = self.token_embedding(tokens) + self.postn_embedding.weight.T[: tokens.shape[1]]
            for block in self.blocks:
                x = x + block(x)  # the block has added x already; so does the public code
            return self.unembedding(x)

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 5, 4)), rng.standard_normal((3, 5))
    points = np.pad(x, ((0, 0), (0, 0), (1, 0)))
    values = np.pad(y[..., None], ((0, 0), (0, 0), (0, 4)))
    tokens = np.stack([points, values], 2).reshape(3, 10, 5).astype(np.float32)

    def ask(model):
        outer = model.token_sequence_transformer
        return dict(x=x, y=y, logits=outer(torch.as_tensor(tokens))[:, 0::2].numpy())

    for seed, (name, output) in enumerate(dict(regression=True, regression_plain=False).items()):
        outer = nn.Module()
        outer.token_sequence_transformer = Regression(4, 6, output)
        shake(outer, 30 + seed)
        keep(name, outer, ('torch',), partial(tensors, outer), ask, dict(num_heads=H))


def module():
    "A small network of a reader, for the page on PyTorch modules"
    import torch
    from torch import nn

    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 2))
    shake(net, 40)
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)

    def ask(model):
        return dict(x=x, y=model(torch.as_tensor(x)).numpy())

    keep('module', net, ('torch',), partial(tensors, net), ask)


def install(folder):
    for name, packages in ENVIRONMENTS.items():
        venv.create(Path(folder) / name, with_pip=True)
        python = Path(folder) / name / 'bin' / 'python'
        subprocess.run([python, '-m', 'pip', 'install', '-q', *packages], check=True)
        subprocess.run([python, __file__], check=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        '--install', metavar='FOLDER', help='make environments there, and run in them'
    )
    asked = parser.parse_args()
    if asked.install:
        return install(asked.install)
    with_transformers()
    if importlib.metadata.version('transformer-lens') < '4':
        with_lens()
        regression()
        module()
    else:
        with_lens_4()


if __name__ == '__main__':
    sys.exit(main())
