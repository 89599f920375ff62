"""torch.onnx in its two forms."""
import contextlib
import io
import warnings

import torch


def export(net, args, path, dynamo, inputs, outputs, opset=None, dims=None):
    """Writes net to path. inputs names each input and its dimensions, those that vary as
    strings; dims may replace the torch.export.Dim of a name."""
    net.eval()
    torch.backends.mha.set_fastpath_enabled(False)  # a form that only PyTorch has
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        if dynamo:
            # Dimensions found to be equal keep one name; AUTO lets the exporter find out.
            known = {n: torch.export.Dim.DYNAMIC for shape in inputs.values() for n in shape if isinstance(n, str)} | (dims or {})
            shapes = tuple({i: known[n] for i, n in enumerate(shape) if isinstance(n, str)} for shape in inputs.values())
            torch.onnx.export(net, args, str(path), dynamo=True, input_names=list(inputs), output_names=outputs,
                              dynamic_shapes=shapes, external_data=False, opset_version=opset, verbose=False)
        else:
            axes = {k: {i: n for i, n in enumerate(shape) if isinstance(n, str)} for k, shape in inputs.items()}
            torch.onnx.export(net, args, str(path), dynamo=False, input_names=list(inputs), output_names=outputs,
                              dynamic_axes=axes, opset_version=opset or 17)
