import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


B, D, H = 3, 2, 4
x = np.random.randn(B, D)
h_prev = np.random.randn(B, H)
c_prev = np.random.randn(B, H)
Wi, Ui, bi = np.random.randn(D, H), np.random.randn(H, H), np.random.randn(H)
Wf, Uf, bf = np.random.randn(D, H), np.random.randn(H, H), np.random.randn(H)
Wo, Uo, bo = np.random.randn(D, H), np.random.randn(H, H), np.random.randn(H)
Wg, Ug, bg = np.random.randn(D, H), np.random.randn(H, H), np.random.randn(H)
dh_next = np.random.randn(B, H)
dc_next = np.random.randn(B, H)

i = sigmoid(x @ Wi + h_prev @ Ui + bi)
f = sigmoid(x @ Wf + h_prev @ Uf + bf)
o = sigmoid(x @ Wo + h_prev @ Uo + bo)
g = np.tanh(x @ Wg + h_prev @ Ug + bg)
c = f * c_prev + i * g
tc = np.tanh(c)
h = o * tc
loss = np.sum(h * dh_next) + np.sum(c * dc_next)

do = dh_next * tc
dc = dc_next + dh_next * o * (1 - tc ** 2)
df = dc * c_prev
di = dc * g
dg = dc * i
dc_prev = dc * f
dzi = di * i * (1 - i)
dzf = df * f * (1 - f)
dzo = do * o * (1 - o)
dzg = dg * (1 - g ** 2)
dWi, dUi, dbi = x.T @ dzi, h_prev.T @ dzi, dzi.sum(axis=0)
dWf, dUf, dbf = x.T @ dzf, h_prev.T @ dzf, dzf.sum(axis=0)
dWo, dUo, dbo = x.T @ dzo, h_prev.T @ dzo, dzo.sum(axis=0)
dWg, dUg, dbg = x.T @ dzg, h_prev.T @ dzg, dzg.sum(axis=0)
dx = dzi @ Wi.T + dzf @ Wf.T + dzo @ Wo.T + dzg @ Wg.T
dh_prev = dzi @ Ui.T + dzf @ Uf.T + dzo @ Uo.T + dzg @ Ug.T
