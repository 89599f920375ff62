"""Cases of com.microsoft's PagedAttention, with what its specification says in doubles."""
import numpy as np


def definition(query, key, value, keys, values, cumulative, past, table, cos, sin, slots, sink, q_norm, k_norm, *, num_heads, kv_num_heads, scale=None,
               softcap=0.0, local_window_size=-1, is_causal=1, do_rotary=0, rotary_interleaved=0, qk_norm_epsilon=1e-6):
    """The three outputs; every input is an array, or None where it is absent."""
    stored, block, size = keys.dtype, keys.shape[1], keys.shape[3]
    d = lambda x: None if x is None else x.astype(np.float64)
    query, key, value, cos, sin, sink, q_norm, k_norm = map(d, (query, key, value, cos, sin, sink, q_norm, k_norm))
    if key is None:
        query, key, value = np.split(query, [num_heads * size, (num_heads + kv_num_heads) * size], axis=1)
    tokens = len(query)
    q, k, v = query.reshape(tokens, num_heads, size), key.reshape(tokens, kv_num_heads, size), value.reshape(tokens, kv_num_heads, size)
    own = np.concatenate([past[s] + np.arange(cumulative[s + 1] - cumulative[s]) for s in range(len(past))]).astype(int)
    if q_norm is not None:
        norm = lambda x, gain: x / np.sqrt((x**2).mean(-1, keepdims=True) + qk_norm_epsilon) * gain
        q, k = norm(q, q_norm), norm(k, k_norm)
    if do_rotary:
        q, k = (turned(x, cos[own][:, None], sin[own][:, None], rotary_interleaved) for x in (q, k))
    keys, values = keys.copy().reshape(-1, kv_num_heads, size), values.copy().reshape(-1, kv_num_heads, size)
    for s in range(len(past)):
        for t in range(cumulative[s], cumulative[s + 1]):
            page = table[s, own[t] // block]
            slot = page * block + own[t] % block if page >= 0 else -1
            if slots is not None:
                slot = slots[t]
            if slot >= 0:
                keys[slot], values[slot] = k[t].astype(stored), v[t].astype(stored)
    y = np.zeros((tokens, num_heads, size))
    for s in range(len(past)):
        rows = range(cumulative[s], cumulative[s + 1])
        at = np.arange(past[s] + len(rows))
        page = table[s][at // block]
        place = np.where(page >= 0, page * block + at % block, 0)
        for t in rows:
            seen = page >= 0
            if is_causal:
                seen &= at <= own[t]
            if local_window_size > 0:
                seen &= at > own[t] - local_window_size
            for h in range(num_heads if seen.any() else 0):
                group = h // (num_heads // kv_num_heads)
                scores = d(keys[place[seen], group]) @ q[t, h] * (scale or size**-0.5)
                if softcap:
                    scores = softcap * np.tanh(scores / softcap)
                e = np.exp(scores)
                y[t, h] = e @ d(values[place[seen], group]) / (e.sum() + (0 if sink is None else np.exp(sink[h])))
    pages = lambda x: x.reshape(-1, block, kv_num_heads, size)
    return [y.reshape(tokens, -1).astype(stored), pages(keys), pages(values)]


def turned(x, cos, sin, interleaved):
    y, half = x.copy(), cos.shape[-1]
    a, b = (slice(0, 2 * half, 2), slice(1, 2 * half, 2)) if interleaved else (slice(0, half), slice(half, 2 * half))
    y[..., a], y[..., b] = x[..., a] * cos - x[..., b] * sin, x[..., a] * sin + x[..., b] * cos
    return y


def cases(rng):
    lengths, past, block, per_row, blocks = [5, 1, 0, 9], [0, 30, 3, 12], 16, 3, 15
    cumulative = np.cumsum([0, *lengths]).astype(np.int32)
    tokens, past = cumulative[-1], np.array(past, np.int32)
    table = rng.permutation(blocks)[: per_row * len(lengths)].reshape(len(lengths), per_row).astype(np.int32)
    for name, heads, kv, size, extra, attributes in (
        ("plain", 4, 2, 16, "", {}), ("packed", 4, 1, 16, "p", {"scale": 0.2}), ("turned", 4, 2, 16, "r", {"do_rotary": 1}),
        ("interleaved", 2, 2, 24, "pr", {"do_rotary": 1, "rotary_interleaved": 1}), ("window", 4, 2, 16, "", {"local_window_size": 7}),
        ("capped", 4, 2, 16, "s", {"softcap": 2.0, "local_window_size": 20}), ("normalised", 4, 2, 32, "rn", {"do_rotary": 1, "qk_norm_epsilon": 1e-5}),
        ("both_ways", 4, 4, 16, "", {"is_causal": 0}), ("slots", 4, 2, 16, "m", {}), ("holes", 4, 2, 16, "h", {}),
    ):
        for dtype in (np.float32, np.float16):
            n = lambda *shape: rng.standard_normal(shape).astype(dtype)
            q = n(tokens, (heads + 2 * kv) * size if "p" in extra else heads * size)
            k, v = (None, None) if "p" in extra else (n(tokens, kv * size), n(tokens, kv * size))
            angle = rng.uniform(0, 6, (per_row * block, size // 2 - 2))
            cos, sin = (np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)) if "r" in extra else (None, None)
            rows = table.copy()
            if "h" in extra:
                rows[1, 0] = -1
            # The first tokens are not stored: what the cache has there stands.
            slots = np.array([-1, -1, *(blocks * block - 1 - np.arange(tokens - 2))], np.int32) if "m" in extra else None
            sink = n(heads) if "s" in extra else None
            gains = (n(size), n(size)) if "n" in extra else (None, None)
            inputs = [q, k, v, n(blocks, block, kv, size), n(blocks, block, kv, size), cumulative, past, rows, cos, sin, slots, sink, *gains]
            a = {"num_heads": heads, "kv_num_heads": kv, **attributes}
            yield f"paged_{name}_{np.dtype(dtype).name}", "PagedAttention", {**a, "given": 0}, inputs, definition(*inputs, **a)
