import torch


def forward(X, W1, b1, W2, b2, T):
    # X: b i, W1: i h, b1: 1 h, W2: h o, b2: 1 o, T: b o
    n_b = X.shape[0]  # |b|
    Z1 = X @ W1 + b1  # b h
    H1 = torch.sigmoid(Z1)  # b h
    Y = H1 @ W2 + b2  # b o
    L = ((Y - T)**2).sum() / (2 * n_b)
    return L, Y, H1


def backward(X, W1, b1, W2, b2, T, L, Y, H1, dL):
    # X: b i, W1: i h, b1: 1 h, W2: h o, b2: 1 o, T: b o, Y: b o, H1: b h
    n_b = X.shape[0]  # |b|
    dY = dL * (Y - T) / n_b  # b o
    dW2 = H1.T @ dY  # h o
    db2 = dY.sum(dim=0, keepdim=True)  # 1 o
    dH1 = dY @ W2.T  # b h
    dZ1 = dH1 * H1 * (1 - H1)  # b h
    dW1 = X.T @ dZ1  # i h
    db1 = dZ1.sum(dim=0, keepdim=True)  # 1 h
    return None, dW1, db1, dW2, db2, None


class Node(torch.autograd.Function):
    """L, with the derived backward pass."""

    @staticmethod
    def forward(X, W1, b1, W2, b2, T):
        return forward(X, W1, b1, W2, b2, T)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs, *output)
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, dL, *_):
        X, W1, b1, W2, b2, T, L, Y, H1 = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            L, Y, H1 = forward(X, W1, b1, W2, b2, T)
        if dL is None:
            dL = torch.zeros_like(L)
        return backward(X, W1, b1, W2, b2, T, L, Y, H1, dL)


def differentiable(*, X, W1, b1, W2, b2, T):
    L, *_ = Node.apply(X, W1, b1, W2, b2, T)
    return L
