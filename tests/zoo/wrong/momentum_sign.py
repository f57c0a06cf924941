import numpy as np
rng = np.random.default_rng(3)
x = rng.normal(size=(20, 2))
y = rng.normal(size=(20,))
w = rng.normal(size=2)
b = 0.3
yhat = x @ w + b
mse = np.mean((y - yhat) ** 2)
dyhat = 2 * (y - yhat) / len(y) # wrong: wrong constant
dw = x.T @ dyhat
db = dyhat.sum()
