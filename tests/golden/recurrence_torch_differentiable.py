import torch


def pick(x, at, dim, outside=0):
    """x at positions along a dimension; outside of it, `outside`."""
    at = torch.as_tensor(at, device=x.device)
    size = x.shape[dim]
    if size == 0:
        return x.new_full(
            x.shape[:dim] + at.shape + x.shape[dim + 1 :], outside
        )
    found = x[(slice(None),) * dim + (at.clamp(0, size - 1),)]
    inside = (at >= 0) & (at < size)
    return torch.where(
        inside.reshape(at.shape + (1,) * (x.ndim - dim - 1)), found, outside
    )


def scan(each, state, given, reverse=False):
    """each(state, entries) for one position after the other, stacked."""
    several = isinstance(given, tuple)
    whole = given if several else (given,)
    places = list(zip(*(x.unbind() for x in whole)))
    nothing = [x.new_zeros(x.shape[1:]) for x in whole]
    made = []
    for entries in (places[::-1] if reverse else places) or [nothing]:
        state, found = each(state, entries if several else entries[0])
        made.append(found if isinstance(found, tuple) else (found,))
    made = made[::-1] if reverse else made
    stacks = tuple(torch.stack(x)[: len(places)] for x in zip(*made))
    return state, stacks if isinstance(found, tuple) else stacks[0]


def forward(f, W, X, U, m, T):
    # f: h, W: i h, X: b t i, U: g h, m: b t, T: t b h
    n_b = X.shape[0]  # |b|
    n_h = f.shape[0]  # |h|
    dtype = f.dtype
    device = f.device
    C_sigmoid = torch.sigmoid(f)  # h

    def each_t(state, given):
        C_before, H_before = state
        X_t, m_t = given
        C_t = C_sigmoid * C_before + X_t @ W + H_before @ U  # C[t,b,h]
        H_t = torch.where(  # H[t,b,h]
            m_t[:, None].bool(),
            torch.tanh(torch.where(m_t[:, None].bool(), C_t, 1)), 0,
        )
        return (C_t, H_t), (C_t, H_t)

    # C: t b h, H: t b h
    _, (C, H) = scan(
        each_t,
        (
            torch.zeros((n_b, n_h), dtype=dtype, device=device),
            torch.zeros((n_b, n_h), dtype=dtype, device=device),
        ),
        (X.permute(1, 0, 2), m.T),
    )
    L = ((H - T)**2).sum() / 2
    return L, H, C_sigmoid, C


def backward(f, W, X, U, m, T, L, H, C_sigmoid, C, dL):
    # f: h, W: i h, X: b t i, U: g h, m: b t, T: t b h, H: t b h, C_sigmoid: h
    # C: t b h
    n_t = X.shape[1]  # |t|
    n_b = X.shape[0]  # |b|
    n_h = f.shape[0]  # |h|
    dtype = f.dtype
    device = f.device
    at_t = torch.arange(n_t, device=device) - 1  # t-1
    dH = (dL * (H - T)).to(dtype, copy=True)  # t b h
    dC = torch.zeros((n_t, n_b, n_h), dtype=dtype, device=device)  # t b h

    def each_t(state, given):
        dC_added, dH_added = state
        dC_t, dH_t, m_t, H_t = given
        dC_t = dC_t + dC_added
        dH_t = dH_t + dH_added
        dC_t = (  # dC[t,b,h]
            dC_t
            + torch.where(
                m_t[:, None].bool(),
                dH_t * (1 - torch.where(m_t[:, None].bool(), H_t, 1)**2), 0,
            )
        )
        dC_before = C_sigmoid * dC_t  # dC[(t-1)?,b,h]
        dH_before = dC_t @ U.T  # dH[(t-1)?,b,g]
        return (dC_before, dH_before), dC_t

    # dC: t b h
    _, dC = scan(
        each_t,
        (
            torch.zeros((n_b, n_h), dtype=dtype, device=device),
            torch.zeros((n_b, n_h), dtype=dtype, device=device),
        ),
        (dC, dH, m.T, H), reverse=True,
    )
    dW = torch.einsum("tbh,bti->ih", dC, X)  # i h
    dU = torch.einsum("tbh,tbg->gh", dC, pick(H, at_t, 0))  # g h
    dC_sigmoid = (dC * pick(C, at_t, 0)).sum(dim=(0, 1))  # h
    df = dC_sigmoid * C_sigmoid * (1 - C_sigmoid)  # h
    return df, dW, None, dU, None, None


class Node(torch.autograd.Function):
    """L, with the derived backward pass."""

    @staticmethod
    def forward(f, W, X, U, m, T):
        return forward(f, W, X, U, m, T)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs, *output)
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, dL, *_):
        f, W, X, U, m, T, L, H, C_sigmoid, C = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            L, H, C_sigmoid, C = forward(f, W, X, U, m, T)
        if dL is None:
            dL = torch.zeros_like(L)
        return backward(f, W, X, U, m, T, L, H, C_sigmoid, C, dL)


def differentiable(*, f, W, X, U, m, T):
    L, *_ = Node.apply(f, W, X, U, m, T)
    return L
