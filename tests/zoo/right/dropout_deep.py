import numpy as np

def forward(params, X, masks, keep_prob):
    cache = {"A0": X}
    A = X
    for l in (1, 2):
        Z = np.dot(params["W%d" % l], A) + params["b%d" % l]
        A = np.maximum(0, Z)
        A = A * masks[l - 1] / keep_prob
        cache["Z%d" % l] = Z
        cache["A%d" % l] = A
    Z = np.dot(params["W3"], A) + params["b3"]
    AL = 1 / (1 + np.exp(-Z))
    return AL, cache

def compute_cost(AL, Y, params, lambd):
    m = Y.shape[1]
    ce = -1 / m * np.sum(Y * np.log(AL) + (1 - Y) * np.log(1 - AL))
    l2 = lambd / (2 * m) * sum(np.sum(np.square(params["W%d" % l])) for l in (1, 2, 3))
    return ce + l2

def backward(params, AL, Y, cache, masks, keep_prob, lambd):
    m = Y.shape[1]
    grads = {}
    dZ = AL - Y
    for l in (3, 2, 1):
        grads["dW%d" % l] = 1 / m * np.dot(dZ, cache["A%d" % (l - 1)].T) + lambd / m * params["W%d" % l]
        grads["db%d" % l] = 1 / m * np.sum(dZ, axis=1, keepdims=True)
        if l > 1:
            dA = np.dot(params["W%d" % l].T, dZ)
            dA = dA * masks[l - 2] / keep_prob
            dZ = dA * (cache["Z%d" % (l - 1)] > 0)
    return grads

np.random.seed(1)
X = np.random.randn(3, 7)
Y = (np.random.rand(1, 7) > 0.5).astype(int)
params = {"W1": np.random.randn(5, 3), "b1": np.zeros((5, 1)), "W2": np.random.randn(4, 5), "b2": np.zeros((4, 1)),
          "W3": np.random.randn(1, 4), "b3": np.zeros((1, 1))}
masks = [(np.random.rand(5, 7) < 0.8).astype(float), (np.random.rand(4, 7) < 0.8).astype(float)]
AL, cache = forward(params, X, masks, 0.8)
cost = compute_cost(AL, Y, params, 0.7)
grads = backward(params, AL, Y, cache, masks, 0.8, 0.7)
