import numpy as np
# contrastive: cosine similarity
a = np.random.randn(4, 3); b = np.random.randn(4, 3)
na = np.sqrt(np.sum(a*a, axis=1, keepdims=True)); nb = np.linalg.norm(b, axis=1, keepdims=True)
ah = a / na; bh = b / nb
cos = np.sum(ah * bh, axis=1)
loss = np.mean(1 - cos)
dcos = -np.ones(4) / 4
dah = dcos[:, None] * bh
da = (dah - ah * np.sum(ah * dah, axis=1, keepdims=True)) / na
dbh = dcos[:, None] * ah
db = (dbh - bh * np.sum(bh * dbh, axis=1, keepdims=True)) / nb
