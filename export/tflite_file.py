"""What stands in a .tflite file: signatures, operators and stored arrays."""

import collections
import hashlib
import os


class TFLiteFile:
    """A .tflite file, read without running it.

    Args:
        path: the file.

    Attributes:
        bytes: size of the file.
        operators: `{signature: {operator: count}}`. Operators that are not TFLite's own go by their custom name.
    """

    def __init__(self, path):
        from ai_edge_litert import schema_py_generated as schema

        with open(path, "rb") as file:
            content = file.read()
        self.bytes = os.path.getsize(path)
        self._model = schema.Model.GetRootAs(content)
        self._names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
        self.operators = {}
        for i in range(self._model.SignatureDefsLength()):
            signature = self._model.SignatureDefs(i)
            key = signature.SignatureKey().decode()
            self.operators[key] = self._count_operators(self._model.Subgraphs(signature.SubgraphIndex()))
        self._buffers = collections.Counter()
        for i in range(self._model.BuffersLength()):
            if self._model.Buffers(i).DataLength():
                self._buffers[_digest(self._model.Buffers(i).DataAsNumpy())] += 1

    def count_array(self, array):
        """How often the bytes of a NumPy array stand in the file as a stored array of their own."""
        return self._buffers[_digest(array)]

    def count_kernel(self, kernel):
        """How often a convolution kernel `(k_h, k_w, c_in, c_out)` is stored; TFLite's layout has c_out first."""
        return self.count_array(kernel.transpose(3, 0, 1, 2))

    def _count_operators(self, subgraph):
        counts = collections.Counter()
        for i in range(subgraph.OperatorsLength()):
            code = self._model.OperatorCodes(subgraph.Operators(i).OpcodeIndex())
            name = self._names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            counts[code.CustomCode().decode() if name == "CUSTOM" else name] += 1
        return dict(sorted(counts.items()))


def _digest(array):
    return hashlib.sha256(array.tobytes()).digest()
