"""Prints three steps of torch.optim.AdamW on two weights in doubles."""

import torch

w = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.AdamW([w], lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
for gradient in [[0.5, -1.0], [0.1, 0.2], [-0.3, 0.4]]:
    w.grad = torch.tensor(gradient, dtype=torch.float64)
    optimizer.step()
    print(w.tolist())
