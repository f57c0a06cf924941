import math

import torch


def cut(x, start, size):
    """Entries of the last axes of x, from `start` on; outside of x there is 0."""
    ends = []
    for s, n, have in reversed([*zip(start, size, x.shape[2:])]):
        ends += [max(-s, 0), max(s + n - have, 0)]
    x = torch.nn.functional.pad(x, ends)
    for dim, (s, n) in enumerate(zip(start, size), 2):
        x = x.narrow(dim, max(s, 0), n)
    return x


def symmetric(size, start, reach, step):
    """Whether windows that reach so far have as many zeros behind as in front."""
    ends = zip(size, start, reach, step)
    return all(s <= 0 and 0 <= n - 2 * s - far < a for n, s, far, a in ends)


def correlate(x, k, size, start, stride, dilation, groups=1):
    """y[b,o,p] = sum[c,r] x[b,c,stride p + dilation r + start] k[o,c,r],
    and outside of x there is 0."""
    batch, window, axes = x.shape[0], k.shape[2:], len(size)
    if 0 in (*x.shape, *k.shape, *size):
        return x.new_zeros((batch, k.shape[0], *size))
    every = zip(stride, size, dilation, window)
    reach = [a * (p - 1) + d * (r - 1) + 1 for a, p, d, r in every]
    pad = [-s for s in start]
    slides = math.prod(window) <= math.prod(size)
    step = stride if slides else dilation
    if not symmetric(x.shape[2:], start, reach, step):
        x, pad = cut(x, start, reach), 0
    if slides:
        conv = getattr(torch.nn.functional, f"conv{axes}d")
        return conv(x, k, None, stride, pad, dilation, groups)
    # y slid over x, which gave k: it is the gradient of a kernel
    x = x.unflatten(1, (groups, -1)).transpose(0, 2).flatten(1, 2)
    of_kernel = getattr(torch.nn.grad, f"conv{axes}d_weight")
    shape, k = (k.shape[0], batch, *size), k.transpose(0, 1)
    y = of_kernel(x, shape, k, dilation, pad, stride, groups)
    return y.transpose(0, 1)


def convolve(x, k, size, start, stride, dilation, groups=1):
    """y[b,c,stride p + dilation r + start] += x[b,o,p] k[o,c,r],
    and elsewhere there is 0."""
    shape = x.shape[0], groups * k.shape[1]
    if 0 in (*x.shape, *k.shape, *size):
        return x.new_zeros((*shape, *size))
    image, window = x.shape[2:], k.shape[2:]
    if groups == 1 and math.prod(image) < math.prod(window):
        x, k = k.transpose(0, 1), x.transpose(0, 1)
        return convolve(x, k, size, start, dilation, stride).transpose(0, 1)
    every = zip(stride, image, dilation, window)
    reach = [a * (p - 1) + d * (r - 1) + 1 for a, p, d, r in every]
    pad = [-s for s in start]
    of_image = getattr(torch.nn.grad, f"conv{len(size)}d_input")
    if symmetric(size, start, reach, stride):
        return of_image((*shape, *size), k, x, stride, pad, dilation, groups)
    y = of_image((*shape, *reach), k, x, stride, 0, dilation, groups)
    return cut(y, pad, size)


def gradient(*, X, W, dY):
    # X: b c i, W: o c r, dY: b o p
    n_r = W.shape[2]  # |r|
    n_i = X.shape[2]  # |i|
    # dW[o,c,r] = dY[b,o,p] X[b,c,(2*p+r-1)?]
    dW = correlate(  # o c r
        X.permute(1, 0, 2), dY.permute(1, 0, 2), size=(n_r,), start=(-1,),
        stride=(1,), dilation=(2,),
    ).permute(1, 0, 2)
    # dX[b,c,(2*p+r-1)?] += W[o,c,r] dY[b,o,p]
    # b c i
    dX = convolve(dY, W, size=(n_i,), start=(-1,), stride=(2,), dilation=(1,))
    return {"X": dX, "W": dW}
