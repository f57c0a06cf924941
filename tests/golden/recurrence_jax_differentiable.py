import jax
import jax.numpy as jnp


def pick(x, at, axis, outside=0):
    """x at positions along an axis; outside the axis it is `outside`."""
    size = x.shape[axis]
    if size == 0:
        return jnp.full(
            x.shape[:axis] + jnp.shape(at) + x.shape[axis + 1 :], outside,
            x.dtype,
        )
    # a negative position would count from the end
    inside = jnp.where((at >= 0) & (at < size), at, size)
    return jnp.take(x, inside, axis, mode="fill", fill_value=outside)


def forward(f, W, X, U, m, T):
    # f: h, W: i h, X: b t i, U: g h, m: b t, T: t b h
    n_b = X.shape[0]  # |b|
    n_h = f.shape[0]  # |h|
    dtype = jnp.result_type(f, W, X, U, T)
    C_sigmoid = jax.nn.sigmoid(f)  # h

    def each_t(state, given):
        C_before, H_before = state
        X_t, m_t = given
        C_t = C_sigmoid * C_before + X_t @ W + H_before @ U  # C[t,b,h]
        H_t = jnp.where(  # H[t,b,h]
            m_t[:, None], jnp.tanh(jnp.where(m_t[:, None], C_t, 1)), 0
        )
        return (C_t, H_t), (C_t, H_t)

    # C: t b h, H: t b h
    _, (C, H) = jax.lax.scan(
        each_t, (jnp.zeros((n_b, n_h), dtype), jnp.zeros((n_b, n_h), dtype)),
        (X.transpose(1, 0, 2), m.T),
    )
    L = ((H - T)**2).sum() / 2
    return L, H, C_sigmoid, C


def backward(f, W, X, U, m, T, L, H, C_sigmoid, C, dL):
    # f: h, W: i h, X: b t i, U: g h, m: b t, T: t b h, H: t b h, C_sigmoid: h
    # C: t b h
    n_t = X.shape[1]  # |t|
    n_b = X.shape[0]  # |b|
    n_h = f.shape[0]  # |h|
    dtype = jnp.result_type(f, W, X, U, T, dL)
    at_t = jnp.arange(n_t) - 1  # t-1
    dH = (dL * (H - T)).astype(dtype)  # t b h
    dC = jnp.zeros((n_t, n_b, n_h), dtype)  # t b h

    def each_t(state, given):
        dC_added, dH_added = state
        dC_t, dH_t, m_t, H_t = given
        dC_t = dC_t + dC_added
        dH_t = dH_t + dH_added
        dC_t = (  # dC[t,b,h]
            dC_t
            + jnp.where(
                m_t[:, None], dH_t * (1 - jnp.where(m_t[:, None], H_t, 1)**2), 0
            )
        )
        dC_before = C_sigmoid * dC_t  # dC[(t-1)?,b,h]
        dH_before = dC_t @ U.T  # dH[(t-1)?,b,g]
        return (dC_before, dH_before), dC_t

    # dC: t b h
    _, dC = jax.lax.scan(
        each_t, (jnp.zeros((n_b, n_h), dtype), jnp.zeros((n_b, n_h), dtype)),
        (dC, dH, m.T, H), reverse=True,
    )
    dW = jnp.einsum("tbh,bti->ih", dC, X)  # i h
    dU = jnp.einsum("tbh,tbg->gh", dC, pick(H, at_t, 0))  # g h
    dC_sigmoid = (dC * pick(C, at_t, 0)).sum(axis=(0, 1))  # h
    df = dC_sigmoid * C_sigmoid * (1 - C_sigmoid)  # h
    return df, dW, None, dU, None, None


@jax.custom_vjp
def node(f, W, X, U, m, T):
    """L, with the derived backward pass."""
    return forward(f, W, X, U, m, T)[:1]


def remember(f, W, X, U, m, T):
    values = forward(f, W, X, U, m, T)
    return values[:1], (f, W, X, U, m, T, *values)


def pull_back(saved, cotangents):
    return backward(*saved, *cotangents)


node.defvjp(remember, pull_back)


def differentiable(*, f, W, X, U, m, T):
    (L,) = node(f, W, X, U, m, T)
    return L
