#!/usr/bin/env python3
"""An unmodified tritonclient.http against a Tandem server.

    triton_http.py URL KEY MODEL REQUEST.json

MODEL takes image uint8 [-1,28,28,1] and gives probabilities float32 [-1,10].
REQUEST.json is a request of the Open Inference Protocol with one image. Prints one
line for each check and ends with "ok"; stops at the first that fails.
"""
import json
import sys
import threading

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def check(name, condition, detail=""):
    if not condition:
        sys.exit(f"{name}: {detail}")
    print(name, flush=True)


def image_input(images, binary):
    x = triton.InferInput("image", list(images.shape), "UINT8")
    x.set_data_from_numpy(images, binary_data=binary)
    return x


def refused(name, status, call):
    try:
        call()
    except InferenceServerException as e:
        check(name, e.status() == str(status) and e.message(), f"status {e.status()}: {e.message()}")
        return e.message()
    sys.exit(f"{name}: it was not refused")


def main():
    url, key, model, path = sys.argv[1:]
    address = url.removeprefix("http://")
    # tritonclient writes into the headers that it is given: a fresh dict for each call.
    auth = lambda: {"Authorization": f"Bearer {key}"}
    client = triton.InferenceServerClient(address, concurrency=4)
    request = json.load(open(path))
    one = np.array(request["inputs"][0]["data"], np.uint8).reshape(request["inputs"][0]["shape"])

    # Health needs no key; everything else does.
    check("live", client.is_server_live())
    check("ready", client.is_server_ready())
    refused("metadata without a key", 401, client.get_server_metadata)
    refused("metadata with a wrong key", 401, lambda: client.get_server_metadata(headers={"Authorization": "Bearer td_wrong"}))
    check("server metadata", client.get_server_metadata(headers=auth())["name"] == "tandem")
    check("model ready", client.is_model_ready(model, headers=auth()))
    check("version ready", client.is_model_ready(model, "1", headers=auth()))
    check("unknown model is not ready", not client.is_model_ready("ghost", headers=auth()))
    m = client.get_model_metadata(model, headers=auth())
    check("inputs", m["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}], m)
    check("outputs", m["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}], m)

    # The same bits in every form: JSON or binary, in and out, alone or among others.
    def probabilities(images, binary_in, outputs, **more):
        r = client.infer(model, [image_input(images, binary_in)], outputs=outputs, headers=auth(), **more)
        return r, r.as_numpy("probabilities")

    binary = [triton.InferRequestedOutput("probabilities", binary_data=True)]
    plain = [triton.InferRequestedOutput("probabilities", binary_data=False)]
    first, want = probabilities(one, True, None)
    check("binary in, binary out", want.shape == (1, 10) and want.dtype == np.float32 and abs(want.sum() - 1) < 1e-4, want)
    check("model name and version", first.get_response()["model_name"] == model and first.get_response()["model_version"] == "1")
    for name, binary_in, outputs in [("binary in, JSON out", True, plain), ("JSON in, binary out", False, binary), ("JSON in, JSON out", False, plain)]:
        check(name, np.array_equal(probabilities(one, binary_in, outputs)[1], want))
    many = np.concatenate([one, 255 - one, one])
    rows = probabilities(many, True, binary)[1]
    check("rows of a batch are independent", np.array_equal(rows[0], want[0]) and np.array_equal(rows[2], want[0]))
    r, _ = probabilities(one, True, None, request_id="seven")
    check("the request's id comes back", r.get_response()["id"] == "seven")
    for how in ["gzip", "deflate"]:
        check(f"{how} body", np.array_equal(probabilities(one, True, None, request_compression_algorithm=how)[1], want))
    check("a timeout that is long enough", np.array_equal(probabilities(one, True, None, timeout=60_000_000)[1], want))

    # Several connections at once.
    got, threads = [None] * 32, []
    for i in range(len(got)):
        threads.append(threading.Thread(target=lambda i=i: got.__setitem__(i, concurrent(address, model, auth, one))))
        threads[-1].start()
    for t in threads:
        t.join()
    check("32 clients at once", all(g is not None and np.array_equal(g, want) for g in got))

    # Errors name what is wrong, with the status that the protocol has for it.
    infer = lambda inputs, name=model, **more: client.infer(name, inputs, headers=auth(), **more)
    good = [image_input(one, True)]
    refused("unknown model", 404, lambda: infer(good, "ghost"))
    refused("unknown version", 404, lambda: infer(good, model_version="99"))
    wrong = triton.InferInput("picture", list(one.shape), "UINT8")
    wrong.set_data_from_numpy(one)
    check("the error names the input", "image" in refused("unknown input", 400, lambda: infer([wrong])))
    refused("wrong shape", 400, lambda: infer([image_input(one[:, :27], True)]))
    floats = triton.InferInput("image", list(one.shape), "FP32")
    floats.set_data_from_numpy(one.astype(np.float32))
    refused("wrong type", 400, lambda: infer([floats]))
    refused("unknown output", 400, lambda: infer(good, outputs=[triton.InferRequestedOutput("ghost")]))
    refused("a sequence, which is not kept", 400, lambda: infer(good, sequence_id=1))
    client.close()
    print("ok")


def concurrent(address, model, auth, one):
    with triton.InferenceServerClient(address) as own:
        return own.infer(model, [image_input(one, True)], headers=auth()).as_numpy("probabilities")


if __name__ == "__main__":
    main()
