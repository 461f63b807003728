"""A small GPT-NeoX, trained with PyTorch, as a stand-in for Pythia: its revisions and its text.

Runs where torch, transformers and safetensors are: `python benchmarks/pythia.py FOLDER`. FOLDER
gets a folder for each revision, as transformers writes it in float16, and `tokens.npz`. It takes
half a minute on one core.
"""

import copy
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

SYMBOLS, CONTEXT, BATCH, STEPS = 16, 32, 32, 2500
REVISIONS = 0, 64, 256, 512, 1000, 2500
SHAPE = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
SHAPE |= dict(vocab_size=SYMBOLS, max_position_embeddings=64, rotary_pct=0.5)


def text(size=40_000):
    "Words of 5 to 12 symbols from a fixed chain, each written twice"
    rng = np.random.default_rng(0)
    table, out = rng.dirichlet(np.ones(SYMBOLS), SYMBOLS), []
    while len(out) < size:
        word = [rng.integers(SYMBOLS)]
        for _ in range(rng.integers(5, 13) - 1):
            word.append(rng.choice(SYMBOLS, p=table[word[-1]]))
        out += 2 * word
    return np.array(out[:size], np.uint8)


def rate(step):  # of STEPS
    "Warm-up, a level, and a straight line to zero"
    return min(1, (step + 1) / 50, (STEPS - step) / (0.4 * STEPS))


def revisions(tokens):  # a generator of (step, model)
    "The model at each revision"
    torch.manual_seed(0)
    model = GPTNeoXForCausalLM(GPTNeoXConfig(**SHAPE))
    adam = torch.optim.Adam(model.parameters(), lr=6e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, rate)
    train = torch.as_tensor(tokens[: int(0.99 * len(tokens))].astype(np.int64))
    for step in range(STEPS + 1):
        if step in REVISIONS:
            yield step, model
        first = torch.randint(0, len(train) - CONTEXT, (BATCH, 1))
        batch = train[first + torch.arange(CONTEXT + 1)]
        logits = model(batch[:, :-1]).logits.reshape(-1, SYMBOLS)
        loss = torch.nn.functional.cross_entropy(logits, batch[:, 1:].reshape(-1))
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()


def main():
    folder, tokens = Path(sys.argv[1]), text()
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / 'tokens.npz', tokens=tokens)
    for step, model in revisions(tokens):
        revision = folder / f'step{step}'
        copy.deepcopy(model).half().save_pretrained(revision)
        (revision / 'generation_config.json').unlink(missing_ok=True)
        print(revision, flush=True)


if __name__ == '__main__':
    main()
