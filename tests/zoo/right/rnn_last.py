import numpy as np

rng = np.random.default_rng(7)
T, D, H = 3, 2, 4
Wh, Wx, b = rng.normal(size=(H, H)), rng.normal(size=(H, D)), rng.normal(size=(H, 1))
Wy, by = rng.normal(size=(1, H)), np.zeros((1, 1))
xs, y_true = rng.normal(size=(T, D)), np.array([[0.7]])


def forward(xs):
    h = np.zeros((H, 1))
    cache = []
    for x in xs:
        h = np.tanh(Wh @ h + Wx @ x.reshape(D, 1) + b)
        cache.append((x, h))
    return Wy @ h + by, cache


def backward(xs, y_pred, cache):
    dWh, dWx, db = np.zeros_like(Wh), np.zeros_like(Wx), np.zeros_like(b)
    dy = y_pred - y_true
    dWy = dy @ cache[-1][1].T
    dby = dy
    dh_next = Wy.T @ dy
    for t in reversed(range(T)):
        x, h = cache[t]
        h_prev = cache[t - 1][1] if t > 0 else np.zeros_like(h)
        dh = dh_next
        dz = dh * (1 - h**2)
        dWh += dz @ h_prev.T
        dWx += dz @ x.reshape(1, D)
        db += dz
        dh_next = Wh.T @ dz
    return dWh, dWx, db, dWy, dby


y_pred, cache = forward(xs)
loss = 0.5 * np.sum((y_pred - y_true) ** 2)
dWh, dWx, db, dWy, dby = backward(xs, y_pred, cache)
