import math

import jax
import jax.numpy as jnp


def correlate(x, k, size, start, stride, dilation, groups=1):
    """y[b,o,p] = sum[c,r] x[b,c,stride p + dilation r + start] k[o,c,r],
    and outside of x there is 0."""
    if 0 in (*x.shape, *k.shape, *size):
        return jnp.zeros((x.shape[0], k.shape[0], *size), x.dtype)
    every = zip(stride, size, dilation, k.shape[2:])
    last = [a * (p - 1) + d * (r - 1) for a, p, d, r in every]
    ends = zip(start, last, x.shape[2:])
    return jax.lax.conv_general_dilated(
        x, k, stride, [(-s, s + far + 1 - n) for s, far, n in ends],
        rhs_dilation=dilation, feature_group_count=groups,
    )


def convolve(x, k, size, start, stride, dilation, groups=1):
    """y[b,c,stride p + dilation r + start] += x[b,o,p] k[o,c,r],
    and elsewhere there is 0."""
    shape = x.shape[0], groups * k.shape[1]
    if 0 in (*x.shape, *k.shape, *size):
        return jnp.zeros((*shape, *size), x.dtype)
    image, window = x.shape[2:], k.shape[2:]
    if groups == 1 and math.prod(image) < math.prod(window):
        x, k = k.swapaxes(0, 1), x.swapaxes(0, 1)
        return convolve(x, k, size, start, dilation, stride).swapaxes(0, 1)
    before = [s + d * (r - 1) for s, d, r in zip(start, dilation, window)]
    every = zip(size, start, stride, image)
    after = [n - s - a * (p - 1) - 1 for n, s, a, p in every]
    k = jnp.flip(k, range(2, k.ndim)).reshape(groups, -1, *k.shape[1:])
    k = k.swapaxes(1, 2).reshape(shape[1], -1, *window)
    return jax.lax.conv_general_dilated(
        x, k, (1,) * len(size), [*zip(before, after)], lhs_dilation=stride,
        rhs_dilation=dilation, feature_group_count=groups,
    )


def gradient(*, X, W, dY):
    # X: b i c, W: r c o, dY: b o p
    n_r = W.shape[0]  # |r|
    n_i = X.shape[1]  # |i|
    # dW[o,c,r] = dY[b,o,p] X[b,c,(2*p+r-1)?]
    dW = correlate(  # r c o
        X.transpose(2, 0, 1), dY.transpose(1, 0, 2), size=(n_r,), start=(-1,),
        stride=(1,), dilation=(2,),
    ).transpose(2, 0, 1)
    # dX[b,c,(2*p+r-1)?] += W[o,c,r] dY[b,o,p]
    dX = convolve(  # b i c
        dY, W.transpose(2, 1, 0), size=(n_i,), start=(-1,), stride=(2,),
        dilation=(1,),
    ).transpose(0, 2, 1)
    return {"X": dX, "W": dW}
