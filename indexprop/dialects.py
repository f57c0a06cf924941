"""How numpy, torch and jax spell the same thing: one record each.

Generated code says the same lines in every dialect. What differs is the word for an axis, where a copy is needed, what
a constant needs to become an array, and how entries are added at positions; a record holds these spellings as texts
with parts in braces. How a function of the table is spelled follows from its numpy text with the module exchanged,
unless the record of the function says otherwise.

Conventions are the same everywhere: winners of a maximum share evenly because the derived lines say so, and positions
outside an axis, where a `?` allows them, give zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from indexprop.errors import NotationError, Problem, did_you_mean
from indexprop.functions import Function

NUMPY_PICK = '''
def pick(x, at, axis, outside=0):
    """x at positions along an axis; outside the axis it is `outside`."""
    at = np.asarray(at)
    inside = (at >= 0) & (at < x.shape[axis])
    if not inside.any():
        return np.full(x.shape[:axis] + at.shape + x.shape[axis + 1 :], outside, x.dtype)
    found = np.take(x, np.where(inside, at, 0), axis)
    return np.where(inside.reshape(at.shape + (1,) * (x.ndim - axis - 1)), found, outside)
'''

NUMPY_PUT = '''
def put(x, at, axis, size):
    """Zeros of a size along an axis, with x added at positions."""
    x, at = np.asarray(x), np.asarray(at)
    result = np.zeros(x.shape[:axis] + (size,) + x.shape[axis + at.ndim :], x.dtype)
    np.add.at(result, (slice(None),) * axis + (at,), x)
    return result
'''

NUMPY_PUT_INSIDE = '''
def put_inside(x, at, axis, size):
    """Zeros of a size along an axis, with x added at positions inside it."""
    x, at = np.asarray(x), np.asarray(at)
    inside = ((at >= 0) & (at < size)).ravel()
    flat = x.reshape(x.shape[:axis] + (at.size,) + x.shape[axis + at.ndim :])
    result = np.zeros(flat.shape[:axis] + (size,) + flat.shape[axis + 1 :], x.dtype)
    np.add.at(result, (slice(None),) * axis + (at.ravel()[inside],), np.compress(inside, flat, axis))
    return result
'''

NUMPY_AMONG = '''
def among(spec, chosen, *operands):
    """einsum over the entries where `chosen` holds; the others do not enter, not even as 0 * inf."""
    with np.errstate(all="ignore"):
        ones = chosen.astype(np.result_type(*operands))  # numpy 2.4 adds up truth values by "or"
        found = np.einsum(spec, ones, *operands, optimize=True)
        if np.isfinite(found).all():
            return found
        inputs, out = spec.split("->")
        first, *rest = inputs.split(",")
        every = "".join(dict.fromkeys(inputs.replace(",", "")))
        product = 1
        for letters, x in zip(rest, operands):
            order = sorted(letters, key=every.index)
            shape = [x.shape[letters.index(k)] if k in letters else 1 for k in every]
            product = product * np.einsum(f"{letters}->{''.join(order)}", x).reshape(shape)
    kept = chosen.reshape(chosen.shape + (1,) * (len(every) - len(first)))
    return np.einsum(f"{every}->{out}", np.where(kept, product, 0))
'''

TORCH_PICK = '''
def pick(x, at, dim, outside=0):
    """x at positions along a dimension; outside of it, `outside`."""
    at = torch.as_tensor(at, device=x.device)
    size = x.shape[dim]
    if size == 0:
        return x.new_full(x.shape[:dim] + at.shape + x.shape[dim + 1 :], outside)
    found = x[(slice(None),) * dim + (at.clamp(0, size - 1),)]
    inside = (at >= 0) & (at < size)
    return torch.where(inside.reshape(at.shape + (1,) * (x.ndim - dim - 1)), found, outside)
'''

TORCH_PUT = '''
def put(x, at, dim, size):
    """Zeros of a size along a dimension, with x added at positions."""
    at = torch.as_tensor(at, device=x.device)
    flat = x.reshape(x.shape[:dim] + (at.numel(),) + x.shape[dim + at.ndim :])
    result = x.new_zeros(flat.shape[:dim] + (size,) + flat.shape[dim + 1 :])
    return result.index_add(dim, at.reshape(-1), flat)
'''

TORCH_PUT_INSIDE = '''
def put_inside(x, at, dim, size):
    """Zeros of a size along a dimension, x added at positions inside it."""
    at = torch.as_tensor(at, device=x.device)
    place = torch.where((at >= 0) & (at < size), at, size).reshape(-1)  # one place more, for what is dropped
    flat = x.reshape(x.shape[:dim] + (at.numel(),) + x.shape[dim + at.ndim :])
    result = x.new_zeros(flat.shape[:dim] + (size + 1,) + flat.shape[dim + 1 :])
    return result.index_add(dim, place, flat).narrow(dim, 0, size)
'''

TORCH_AMONG = '''
def among(spec, chosen, *operands):
    """einsum over the entries where `chosen` holds; the others do not enter, not even as 0 * inf."""
    found = torch.einsum(spec, chosen.to(operands[0].dtype), *operands)
    if found.isfinite().all():
        return found
    inputs, out = spec.split("->")
    first, *rest = inputs.split(",")
    every = "".join(dict.fromkeys(inputs.replace(",", "")))
    product = 1
    for letters, x in zip(rest, operands):
        order = sorted(letters, key=every.index)
        shape = [x.shape[letters.index(k)] if k in letters else 1 for k in every]
        product = product * torch.einsum(f"{letters}->{''.join(order)}", x).reshape(shape)
    kept = chosen.reshape(chosen.shape + (1,) * (len(every) - len(first)))
    return torch.einsum(f"{every}->{out}", torch.where(kept, product, 0))
'''

TORCH_CUT = '''
def cut(x, start, size):
    """Entries of the last axes of x, from `start` on; outside of x is 0."""
    ends = []
    for s, n, have in reversed([*zip(start, size, x.shape[2:])]):
        ends += [max(-s, 0), max(s + n - have, 0)]
    x = torch.nn.functional.pad(x, ends)
    for dim, (s, n) in enumerate(zip(start, size), 2):
        x = x.narrow(dim, max(s, 0), n)
    return x
'''

TORCH_SYMMETRIC = '''
def symmetric(size, start, reach, step):
    """Whether windows that reach so far have as many zeros on both sides."""
    ends = zip(size, start, reach, step)
    return all(s <= 0 and 0 <= n - 2 * s - far < a for n, s, far, a in ends)
'''

TORCH_CORRELATE = '''
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
'''

TORCH_CONVOLVE = '''
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
'''

TORCH_SCAN = '''
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
'''

JAX_PICK = '''
def pick(x, at, axis, outside=0):
    """x at positions along an axis; outside the axis it is `outside`."""
    size = x.shape[axis]
    if size == 0:
        return jnp.full(x.shape[:axis] + jnp.shape(at) + x.shape[axis + 1 :], outside, x.dtype)
    inside = jnp.where((at >= 0) & (at < size), at, size)  # a negative position would count from the end
    return jnp.take(x, inside, axis, mode="fill", fill_value=outside)
'''

JAX_PUT = '''
def put(x, at, axis, size):
    """Zeros of a size along an axis, with x added at positions."""
    at = jnp.asarray(at)
    result = jnp.zeros(x.shape[:axis] + (size,) + x.shape[axis + at.ndim :], x.dtype)
    return result.at[(slice(None),) * axis + (at,)].add(x)
'''

JAX_PUT_INSIDE = '''
def put_inside(x, at, axis, size):
    """Zeros of a size along an axis, with x added at positions inside it."""
    at = jnp.asarray(at)
    inside = jnp.where((at >= 0) & (at < size), at, size)  # a negative position would count from the end
    result = jnp.zeros(x.shape[:axis] + (size,) + x.shape[axis + at.ndim :], x.dtype)
    return result.at[(slice(None),) * axis + (inside,)].add(x, mode="drop")
'''

JAX_AMONG = '''
def among(spec, chosen, *operands):
    """einsum over the entries where `chosen` holds; the others do not enter, not even as 0 * inf."""
    inputs, out = spec.split("->")
    first, *rest = inputs.split(",")
    every = "".join(dict.fromkeys(inputs.replace(",", "")))

    def masked():
        product = 1
        for letters, x in zip(rest, operands):
            order = sorted(letters, key=every.index)
            shape = [x.shape[letters.index(k)] if k in letters else 1 for k in every]
            product = product * jnp.einsum(f"{letters}->{''.join(order)}", x).reshape(shape)
        kept = chosen.reshape(chosen.shape + (1,) * (len(every) - len(first)))
        return jnp.einsum(f"{every}->{out}", jnp.where(kept, product, 0))

    finite = jnp.all(jnp.stack([jnp.isfinite(x).all() for x in operands]))
    return jax.lax.cond(finite, lambda: jnp.einsum(spec, chosen, *operands), masked)
'''


JAX_CORRELATE = '''
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
'''

JAX_CONVOLVE = '''
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
'''


@dataclass(frozen=True)
class Dialect:
    """The words of one library.

    >>> TORCH.sum("dY", (1,), keep=True), JAX.sum("dY", (1,))
    ('dY.sum(dim=1, keepdim=True)', 'dY.sum(axis=1)')

    `module` is the short name of what `imports` loads. Of the texts with parts in braces, `array` makes an array of a
    number, `truth` a condition of an array, `fresh` an array of its own from what may be a view of another, and `own`
    one to write to; `common` and `alone` find the precision, from the inputs or without any, and `place` and `nowhere`
    the device. `take` reads at positions along an axis, `add_at` adds at positions, `assign` and `add` write a part of
    an array; `helpers` read and write where positions may lie outside, and sum where a condition holds. `scan` calls a
    function for one position of a block after the other. `quiet` stands above lines that are to give no warnings.
    `one_axis`: reductions over one axis at a time; `strict`: functions take arrays only, and conditions are truth
    values; `scalars`: a function of a number is an array without axes; `slides`: there are helpers for windows that
    slide, and `flip` turns axes around.
    """

    name: str
    module: str
    imports: str
    reserved: tuple[str, ...]
    common: str
    alone: str
    array: str
    zeros: str
    full: str
    arange: str
    cast: str
    take: str
    add_at: str
    empty: str
    own: str
    helpers: Mapping[str, str] = field(hash=False)
    assign: str = "{target} = {value}"
    add: str = "{target} += {value}"
    fresh: str = "{array}"
    truth: str = "{array}"
    place: str = ""
    nowhere: str = ""
    axis: str = "axis"
    keep: str = "keepdims"
    maximum: str = "max"
    minimum: str = "min"
    one_axis: tuple[str, ...] = ()
    permute: str = "transpose"
    diagonal: str = ""
    contract: str = ""
    quiet: str = ""
    scan: str = ""
    strict: bool = False
    scalars: bool = False
    slides: bool = False
    flip: str = ""

    def reduce(self, operation: str, array: str, axes: tuple[int, ...] = (), *, keep: bool = False) -> str:
        """The sum, product, maximum or minimum of an array over some of its axes, or over all."""
        method = {"max": self.maximum, "min": self.minimum}.get(operation, operation)
        if not axes:
            return f"{array}.{method}()"
        if len(axes) > 1 and operation in self.one_axis:
            *first, last = axes
            return self.reduce(operation, self.reduce(operation, array, (last,), keep=keep), tuple(first), keep=keep)
        where = f"{self.axis}={axes[0]}" if len(axes) == 1 else f"{self.axis}=({', '.join(map(str, axes))})"
        return f"{array}.{method}({where}{f', {self.keep}=True' if keep else ''})"

    def sum(self, array: str, axes: tuple[int, ...] = (), *, keep: bool = False) -> str:
        return self.reduce("sum", array, axes, keep=keep)

    def spelling(self, record: Function) -> str:
        """An expression over the parameters of a function in braces, the source of a small function, or nothing where
        the module has the function under its own name.

        >>> from indexprop.functions import TABLE
        >>> [one.spelling(TABLE["relu"]) for one in (NUMPY, TORCH, JAX)]
        ['np.maximum({x}, 0)', 'torch.relu({x})', 'jnp.maximum({x}, 0)']
        """
        own = {"torch": record.torch, "jax": record.jax}.get(self.name)
        return own or record.numpy.replace("np.", f"{self.module}.")


NUMPY = Dialect(
    name="numpy",
    module="np",
    imports="import numpy as np",
    reserved=("np", "contextvars"),
    common="np.result_type({arrays}, np.float16)",
    alone="np.float64",
    array="np.asarray({value}, {dtype})",
    zeros="np.zeros({shape}, {dtype})",
    full="np.full({shape}, {value}, {dtype})",
    arange="np.arange({size})",
    cast="{array}.astype({dtype})",
    take="np.take({array}, {at}, {axis})",
    empty="np.empty({shape}, {dtype})",
    own="{array}.astype({dtype})",
    add_at="np.add.at({target}, ({at},), {value})",
    helpers={"pick": NUMPY_PICK, "put": NUMPY_PUT, "put_inside": NUMPY_PUT_INSIDE, "among": NUMPY_AMONG},
    fresh="{array}.copy()",
    diagonal="np.einsum({spec}, {target})[...] += {value}",
    contract="contract",
    quiet='with np.errstate(all="ignore"):',
)

TORCH = Dialect(
    name="torch",
    module="torch",
    imports="import torch",
    reserved=("torch", "device"),
    common="{first}.dtype",
    alone="torch.get_default_dtype()",
    place="{first}.device",
    nowhere="torch.get_default_device()",
    array="torch.as_tensor({value}, dtype={dtype}, device={device})",
    zeros="torch.zeros({shape}, dtype={dtype}, device={device})",
    full="torch.full({shape}, {value}, dtype={dtype}, device={device})",
    arange="torch.arange({size}, device={device})",
    cast="{array}.to({dtype})",
    take="{array}[{before}{at}]",
    empty="torch.empty({shape}, dtype={dtype}, device={device})",
    own="{array}.to({dtype}, copy=True)",
    add_at="{target}.index_put_(({at},), {value}, accumulate=True)",
    helpers={
        "pick": TORCH_PICK,
        "put": TORCH_PUT,
        "put_inside": TORCH_PUT_INSIDE,
        "among": TORCH_AMONG,
        "scan": TORCH_SCAN,
    }
    | {"cut": TORCH_CUT, "symmetric": TORCH_SYMMETRIC, "correlate": TORCH_CORRELATE, "convolve": TORCH_CONVOLVE},
    slides=True,
    flip="{array}.flip({axes})",
    fresh="{array}.clone()",
    truth="{array}.bool()",
    scalars=True,
    axis="dim",
    keep="keepdim",
    maximum="amax",
    minimum="amin",
    one_axis=("prod",),
    permute="permute",
    scan="scan({function}, {start}, {given}{reverse})",
    strict=True,
)

JAX = Dialect(
    name="jax",
    module="jnp",
    imports="import jax.numpy as jnp",
    reserved=("jax", "jnp"),
    common="jnp.result_type({arrays})",
    alone="jnp.result_type(float)",
    array="jnp.asarray({value}, {dtype})",
    scalars=True,
    zeros="jnp.zeros({shape}, {dtype})",
    full="jnp.full({shape}, {value}, {dtype})",
    arange="jnp.arange({size})",
    cast="{array}.astype({dtype})",
    take="jnp.take({array}, {at}, {axis})",
    empty="jnp.empty({shape}, {dtype})",
    own="{array}.astype({dtype})",
    add_at="{name} = {name}.at[{whole}].add({value})",
    assign="{name} = {name}.at[{at}].set({value})",
    add="{name} = {name}.at[{at}].add({value})",
    helpers={"pick": JAX_PICK, "put": JAX_PUT, "put_inside": JAX_PUT_INSIDE, "among": JAX_AMONG}
    | {"correlate": JAX_CORRELATE, "convolve": JAX_CONVOLVE},
    slides=True,
    flip="jnp.flip({array}, {axes})",
    scan="jax.lax.scan({function}, {start}, {given}{reverse})",
)

DIALECTS = {one.name: one for one in (NUMPY, TORCH, JAX)}


def dialect(name: str) -> Dialect:
    """The dialect of a name.

    Raises NotationError for a name that there is not.
    """
    if name not in DIALECTS:
        raise NotationError(Problem(f"there is no dialect {name!r}", way_out=did_you_mean(str(name), [*DIALECTS])))
    return DIALECTS[name]
