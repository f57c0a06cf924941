"""Layers made of layers: one after the other, beside each other, around each other, with shared weights.

    net = Sequential(Linear("i -> h"), Sigmoid(), Linear("h -> g"), Sigmoid(), Linear("g -> o"), SquaredLoss())
    params = net.init(np.random.default_rng(0), i=3, h=4, g=4, o=2)
    L, saved = net.forward(params, X, T=T)
    dX, dparams = net.backward(params, saved)

What is composed is a layer again, and a program. Names of tensors are made distinct, and say where they come from:
`W1`, `encoder.2.attn.Wq`. Index names are local to a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise

from indexprop import ir, printing, symbols, validation
from indexprop.errors import NameProblem, NotationError, Problem, TypeProblem, did_you_mean
from indexprop.ir import Access, Step
from indexprop.roles import Layer, check_layer_name


class Sequential(Layer):
    """Layers, each of which reads the output of the one before; itself a layer.

    >>> from indexprop.layers import Linear, Sigmoid, SquaredLoss
    >>> print(Sequential(Linear("i -> h"), Sigmoid(), Linear("h -> o"), SquaredLoss()).program())
    input X[i,b], W1[h,i], b1[h], W2[o,h], b2[o], T[o,b]
    batch b
    Z1[h,b] = W1[h,i] X[i,b] + b1[h]
    H1[h,b] = sigmoid(Z1[h,b])
    Y[o,b]  = W2[o,h] H1[h,b] + b2[o]
    L       = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)

    Parameters and values are numbered by the layers that have parameters: W1, b1, Z1, H1, W2, ...; those of a layer
    with a name are `name.W`, `name.Z`. A loss, which is a layer whose output is a single number, keeps its names, and
    what it reads is called as it calls it. Index names are local to a layer: an axis keeps the name that it has where
    it appears first, and where one name would have two sizes, the later ones are `o2`, `o3`, ... Layers in a
    Sequential without a name are taken as if they stood in the outer one. Raises NotationError where ranks clash,
    NameProblem for a name given twice.
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer, name: str = "") -> None:
        given: tuple[object, ...] = layers
        problems = []
        for number, part in enumerate(given, 1):
            if not isinstance(part, Layer):
                kind = part.__name__ if isinstance(part, type) else type(part).__name__
                way_out = 'Write a layer, such as Linear("i -> o") or Layer(text).'
                if isinstance(part, (type, partial)):
                    way_out = "Write its parentheses: Sigmoid(), not Sigmoid."
                fact = f"part {number} of the Sequential is a {kind} and not a layer"
                problems.append(Problem(fact, repr(part), way_out=way_out))
        if not layers:
            problems.append(Problem("Sequential() has no layers", way_out='Write Sequential(Linear("i -> o"), ...).'))
        if problems:
            raise TypeProblem(*problems)
        check_layer_name(name)
        flat = [inner for layer in layers for inner in _flat(layer)]
        _check_ranks(flat)
        _check_batches(flat)
        _check_names(flat)
        renamed = _tensor_names(flat)
        scopes = [_scope(layer, names) for layer, names in zip(flat, renamed, strict=True)]
        pairs = list(zip(flat, renamed, strict=True))
        data = renamed[0][flat[0].data]
        parameters = tuple(names[parameter] for layer, names in pairs for parameter in layer.parameters)
        others = tuple(names[other] for layer, names in pairs for other in layer.others)
        output = renamed[-1][flat[-1].output]
        definition = symbols.connect(scopes, inputs=(data, *parameters, *others), outputs=[output], inherit=True)
        states = tuple(names[state] for layer, names in pairs for state in layer.states)
        self._set(definition, data, parameters, output, name, states)
        self.__dict__["layers"] = tuple(flat)

    @property
    def stages(self) -> int:
        return sum(layer.stages for layer in self.layers)


class Parallel(Layer):
    """Layers that read the same data, their outputs added; itself a layer.

    >>> from indexprop.layers import Linear
    >>> print(Parallel(Linear("i -> o", name="wide"), Linear("i -> o", bias=False, name="thin")).program())
    input X[i,b], wide.W[o,i], wide.b[o], thin.W[o,i]
    batch b
    wide.Z[o,b] = wide.W[o,i] X[i,b] + wide.b[o]
    thin.Z[o,b] = thin.W[o,i] X[i,b]
    R[o,b]      = wide.Z[o,b] + thin.Z[o,b]

    Names and indices are made distinct as in a `Sequential`. Raises NotationError where ranks clash.
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer, name: str = "") -> None:
        self._join(layers, [], name)

    def _join(self, layers: Sequence[Layer], kept: Sequence[str], name: str) -> None:
        """Adds the outputs of layers, and the data themselves if they are kept."""
        if not layers or not all(isinstance(layer, Layer) for layer in layers):
            kind = type(self).__name__
            raise TypeProblem(
                Problem(f"{kind} is made of layers", repr(layers), way_out=f'Write {kind}(Linear("i -> o"), ...).')
            )
        _check_names(layers)
        data = layers[0].data
        ranks = {len(layer.definition.axes[tensor]) for layer in layers for tensor in (layer.data, layer.output)}
        results = {len(layer.definition.axes[layer.output]) for layer in layers}
        read = {len(layer.definition.axes[layer.data]) for layer in layers}
        if len(results) > 1 or len(read) > 1 or (kept and len(ranks) > 1):
            raise NotationError(
                Problem(
                    "what is added has different numbers of axes",
                    "\n".join(layer.title for layer in layers),
                    way_out="Give all parts the same axes.",
                )
            )
        taken = {data}
        scopes, pairs = [], []
        for layer in layers:
            names = {layer.data: data}
            for local in layer.definition.names:
                if local != layer.data:
                    names[local] = ir.fresh(f"{layer.name}.{local}" if layer.name else local, taken)
                    taken.add(names[local])
            pairs.append((layer, names))
            scopes.append(_scope(layer, names))
        slots = tuple(f"n{k + 1}" for k in range(min(results)))
        output = ir.fresh("R", taken)
        parts = [*([data] if kept else []), *(names[layer.output] for layer, names in pairs)]
        total = Step(Access(output, slots), ir.collect(ir.term((), Access(part, slots)) for part in parts))
        parameters = tuple(names[parameter] for layer, names in pairs for parameter in layer.parameters)
        others = tuple(names[other] for layer, names in pairs for other in layer.others)
        definition = symbols.connect(
            [*scopes, symbols.Scope((total,))], inputs=(data, *parameters, *others), outputs=[output], inherit=True
        )
        check_layer_name(name)
        states = tuple(names[state] for layer, names in pairs for state in layer.states)
        self._set(definition, data, parameters, output, name, states)
        self.__dict__["layers"] = tuple(layers)


class Residual(Parallel):
    """The data, and what a layer makes of them, added.

    >>> print(Residual(Layer("Y[d,b] = W[d,e] tanh(X[e,b])", parameters="W")).program())
    input X[e,b], W[d,e]
    batch b
    Y[d,b] = W[d,e] tanh(X[e,b])
    R[e,b] = X[e,b] + Y[e,b]
    """

    def __init__(self, layer: Layer, *, name: str = "") -> None:
        self._join([layer], ["data"], name)


def share(layer: Layer, names: Mapping[str, str]) -> Layer:
    """The layer with some of its parameters being others of its parameters: `{"decoder.W": "encoder.W"}`.

    >>> from indexprop.layers import Linear, Tanh
    >>> twice = Sequential(Linear("i -> h"), Tanh(), Linear("h -> o"))
    >>> share(twice, {"W2": "W1", "b2": "b1"})
    <Layer: X[i,b] -> Z2[o,b], parameters W1[h,i], b1[h]>

    Their axes have one size each; the cotangent of what is shared is the sum over all its uses. Raises NameProblem for
    names that are no parameters.
    """
    if not isinstance(layer, Layer) or not isinstance(names, Mapping):
        raise TypeProblem(
            Problem(
                "share takes a layer and a dictionary of names",
                f"share({layer!r}, {names!r})",
                way_out='Write share(net, {"decoder.W": "encoder.W"}).',
            )
        )
    problems = [
        Problem(f"there is no parameter {word!r}", layer.title, way_out=did_you_mean(word, layer.parameters))
        for pair in names.items()
        for word in pair
        if word not in layer.parameters
    ]
    problems += [
        Problem(f"{other!r} is replaced itself", layer.title, way_out="Name the parameter that stays.")
        for other in dict.fromkeys(names.values())
        if other in names
    ]
    if problems:
        raise NameProblem(*problems)
    whole = layer.definition
    definition = validation.assemble(
        [ir.rename_step(step, {}, names) for step in whole.steps],
        inputs=[access for access in whole.inputs if access.tensor not in names],
        outputs=whole.outputs,
        batch=whole.batch,
        facts=whole.facts,
    )
    parameters = tuple(name for name in layer.parameters if name not in names)
    made = Layer.__new__(Layer)
    made._set(definition, layer.data, parameters, layer.output, layer.name, layer.states)
    return made


def _scope(layer: Layer, names: Mapping[str, str]) -> symbols.Scope:
    """A layer with its tensors renamed."""
    definition = layer.definition
    return symbols.Scope(
        tuple(ir.rename_step(step, {}, names) for step in definition.steps),
        tuple(Access(names[access.tensor], access.slots) for access in definition.inputs),
        definition.batch,
        definition.facts,
    )


def _flat(layer: Layer) -> Iterable[Layer]:
    return layer.layers if isinstance(layer, Sequential) and not layer.name else (layer,)


def _check_ranks(flat: Sequence[Layer]) -> None:
    problems = []
    for number, (before, after) in enumerate(pairwise(flat), 2):
        given, wanted = before.definition.axes[before.output], after.definition.axes[after.data]
        if len(given) != len(wanted):
            problems.append(
                Problem(
                    f"layer {number} reads {printing.format_access(Access(after.data, wanted))}, and layer {number - 1}"
                    f" gives {printing.format_access(Access(before.output, given))}",
                    f"{number - 1}  {before.title}\n{number}  {after.title}",
                    f"{len(wanted)} axes and {len(given)}.",
                    "Nothing follows a loss."
                    if not given
                    else "Name the axes of the layer, such as Sigmoid('i', batch='b t').",
                )
            )
    if problems:
        raise NotationError(*problems)


def _check_batches(flat: Sequence[Layer]) -> None:
    """One layer must not read as its batch what another gave as something else; what runs entry by entry may."""
    problems = []
    before, number_before = flat[0], 1
    for number, after in enumerate(flat[1:], 2):
        if _entry_by_entry(after):
            continue
        given, wanted = before.definition.axes[before.output], after.definition.axes[after.data]
        one, other = before.definition.batch, after.definition.batch
        if one in given and other in wanted and given.index(one) != wanted.index(other):
            reads, gives = (
                f"{printing.format_access(Access(tensor, axes))}, with {index!r} at axis {axes.index(index) + 1}"
                for tensor, axes, index in ((after.data, wanted, other), (before.output, given, one))
            )
            problems.append(
                Problem(
                    f"layer {number} reads {reads}, and layer {number_before} gives {gives}",
                    f"{number_before}  {before.title}\n{number}  {after.title}",
                    "One of the two is taken for the batch by one layer, and for something else by the other.",
                    "Name every axis of the layer in its order, such as Linear('b t i -> b t o').",
                )
            )
        before, number_before = after, number
    if problems:
        raise NotationError(*problems)


def _entry_by_entry(layer: Layer) -> bool:
    """Whether every entry that a layer gives is made from the same entry of what it reads, and of nothing else."""
    axes = layer.definition.axes[layer.data]
    return not layer.parameters and all(
        step.target.slots == axes and not term.bound and all(access.slots == axes for access in step.reads)
        for step in layer.definition.steps
        for term in step.terms
    )


def _check_names(flat: Sequence[Layer]) -> None:
    seen: dict[str, int] = {}
    problems = []
    for number, layer in enumerate(flat, 1):
        if layer.name and layer.name in seen:
            problems.append(
                Problem(
                    f"layers {seen[layer.name]} and {number} are both called {layer.name!r}",
                    layer.title,
                    "Tensors are told apart by the names of their layers.",
                    "Give one of them another name.",
                )
            )
        seen.setdefault(layer.name, number)
    if problems:
        raise NameProblem(*problems)


def _tensor_names(flat: Sequence[Layer]) -> list[dict[str, str]]:
    """For every layer, the name of each of its tensors in the composition."""
    value = flat[0].data
    taken = {value}
    stage = 0
    last: dict[str, int] = {}
    found = []

    def numbered(local: str) -> str:
        count = max(stage, last.get(local, 0) + 1, 1)
        while True:
            name = f"{local}{'_' if local[-1].isdigit() else ''}{count}"
            if name not in taken and not validation.name_problem(name):
                last[local] = count
                return name
            count += 1

    for layer, after in zip(flat, [*flat[1:], None], strict=True):
        stage += layer.stages
        names = {layer.data: value}
        for local in layer.definition.names:
            if local == layer.data:
                continue
            if layer.name:
                name = f"{layer.name}.{local}"
            elif after is not None and local == layer.output and _is_loss(after) and after.data not in taken:
                name = after.data
            elif local in layer.others or "." in local or _is_loss(layer):
                name = ir.fresh(local, taken)
            else:
                name = numbered(local)
            names[local] = name
            taken.add(name)
        value = names[layer.output]
        found.append(names)
    return found


def _is_loss(layer: Layer) -> bool:
    return not layer.definition.axes[layer.output]
